"""FastAPI dependencies of the routes: the objects they use, and the scope that each requires of its caller."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import BackgroundTasks, Depends, Request

from images.serve.arm_counts import ArmCounts
from images.serve.audit import AuditLog
from images.serve.auth import COOKIE, Auth, Caller
from images.serve.batching import Batcher
from images.serve.credentials import Credentials
from images.serve.errors import Forbidden, NotAuthenticated, Overloaded, TooLate, TooManyRequests
from images.serve.exposure_log import ExposureLog
from images.serve.limits import Kind, Limiter, caller_address
from images.serve.metrics import Metrics
from images.serve.requests import SearchRequest, check_log_fields
from images.serve.routing import UNTOGGLED, Search
from images.serve.search import Answer as Found
from images.serve.search import Answerer
from images.serve.shadow import Shadow
from images.serve.shipping import Shipper
from images.serve.watcher import Watcher, id_of
from pipelines import tracing
from pipelines.access.scopes import Scope
from pipelines.corpus.exposure import ListKind
from pipelines.deployment.toggles import Toggles
from pipelines.errors import InputError
from pipelines.retrieval.release import Release

Answer = TypeVar("Answer")
MOST_WAITING = 256
"""Requests that may wait for a thread; with more, the next is told to come later, before it makes the others slower."""
MOST_TOGETHER = 64
"""Searches that are ranked together: beyond that an encoder gains little, and all wait for the last."""
WORK_S = 20.0
"""Seconds after which a request is given up on."""


@dataclass
class Dependencies:
    """The objects that routes use; `pool` runs what would block the event loop, searches on `workers` of its threads at once.

    `toggles` gives what was toggled; `queue` is how many searches may wait; `cache` the rankings kept; `arms` counts the
    searches of a deployment by evidence.
    """

    watcher: Watcher
    exposure_log: ExposureLog
    auth: Auth
    pool: ThreadPoolExecutor
    limiter: Limiter | None = None
    credentials: Credentials | None = None
    toggles: Callable[[], Toggles] = lambda: UNTOGGLED
    workers: int = 1
    queue: int = MOST_WAITING
    cache: int = 0
    arms: ArmCounts | None = None
    shipper: Shipper | None = None
    draining: bool = False
    """Whether this server is about to end: it is not ready, and yet answers what arrives."""
    failures: dict[str, str] = field(default_factory=dict)
    """By thread that follows something, why it failed last; none has failed since the server began: empty."""
    audit_log: AuditLog = field(init=False)
    metrics: Metrics = field(init=False)
    searches: Batcher[Search, Found] = field(init=False)
    shadow: Shadow = field(init=False)
    _waiting: int = 0

    def __post_init__(self) -> None:
        self.audit_log = AuditLog(self.exposure_log.folder)
        answerer = Answerer(
            lambda: self.watcher.state,
            self.exposure_log,
            self.toggles,
            self.cache,
            lambda release, reason: self.metrics.failed(release, reason),  # noqa: PLW0108  # they come later
            self.arms,
        )
        self.metrics = Metrics(lambda: self.watcher.state, lambda: self.searches.waiting, answerer.cache)
        if self.shipper:
            self.metrics.add(self.shipper)

        def answer_all(searches: Sequence[Search]) -> Sequence[Found | Exception]:
            began = time.perf_counter()
            with self.metrics.batch([search.since for search in searches]) as seconds:
                answers = answerer.answer_all(searches)
            told = {"ratchet.batch": len(searches)} | {
                f"ratchet.{stage}_s": round(spent, 6) for stage, spent in seconds.items()
            }
            for search in searches:
                tracing.record(search.span, "rank", began, told)
            return answers

        self.searches = Batcher(answer_all, self.pool, self.workers, self.queue, MOST_TOGETHER, WORK_S)
        self.shadow = Shadow(
            lambda: self.watcher.state,
            answerer,
            self.exposure_log,
            self.metrics,
            lambda: self.searches.idle and not self._waiting,
            self.arms,
        )

    def clicked(self, request_id: str) -> None:
        """Count a search as clicked."""
        origin, state = self.exposure_log.request_ids.origin(request_id), self.watcher.state
        release: Release | None = getattr(state, origin.policy) if origin and origin.entry == state.entry else None
        self.metrics.clicked(request_id, id_of(release) or "")
        if self.arms:
            self.arms.clicked(request_id, origin)

    async def search(
        self, parameters: SearchRequest, caller: Caller, after: BackgroundTasks, kind: ListKind = "search"
    ) -> Found:
        """The answer to a search, which is written down and counted; once it was sent, `after` offers it to the shadow.

        Raises:
            InputError: its parameters don't go together, or no document has a field of its filter.
            NotFound: the release that it names does not serve, or has none of its documents.
            TryAgain: nothing serves yet, or too much waits.
        """
        check_log_fields(parameters)
        if parameters.k is None:
            parameters = parameters.model_copy(update={"k": self.toggles().k})
        user = parameters.user or caller.user
        search = Search(parameters, user, self.auth.pseudonym(user), caller.id, kind)
        answer = await self.searches.answer(search)
        self.metrics.searched(answer)
        after.add_task(self._offer, search, answer)
        if span := tracing.current_span():
            span.set_attributes({"ratchet.release": answer["release"], "ratchet.request": answer["request_id"]})
            if release := self.watcher.state.warm.get(answer["release"]):
                tracing.link(span, release.assembled_in)
        return answer

    async def _offer(self, search: Search, answer: Found) -> None:
        self.shadow.offer(search, answer)

    async def count(self, caller: Caller, several: int) -> None:
        """Count a request, which is counted once already, as the several that it does the work of; all of these or none.

        Raises:
            InputError: the caller's limit never lets so many in.
            TooManyRequests: they are beyond the caller's limit now.
        """
        most, limit = self.limiter.limit("key") if self.limiter else (several, "")
        if several > most:
            raise InputError(
                f"one request that counts as {several}", f"at most {most}, the limit of a key ({limit})", "send fewer at once"
            )
        if several > 1:
            await _count(self.limiter, "key", caller.id, several - 1)

    async def run(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Run `function` on a thread of the pool.

        Raises:
            Overloaded: too many others wait.
            TooLate: it takes too long.
        """
        if self._waiting >= MOST_WAITING:
            raise Overloaded(f"at most {MOST_WAITING} at once", 1)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await asyncio.wait_for(loop.run_in_executor(self.pool, function, *args), WORK_S)
        except TimeoutError:
            raise TooLate(f"answers within {WORK_S:g} s", 1) from None
        finally:
            self._waiting -= 1


async def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


class Requires:
    """A dependency that lets only callers with a scope pass, within their limits. Each route has one, and only one."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """The caller.

        Raises:
            NotAuthenticated: neither a valid key or token, nor a session; or a session cookie sent by another site's page.
            Forbidden: the caller lacks the scope.
            TooManyRequests: the caller's limit, or the address's limit of failures, is reached.
        """
        dependencies: Dependencies = request.app.state.dependencies
        try:
            caller = await identified(request)
        except NotAuthenticated:
            await _count(dependencies.limiter, "failures", caller_address(request.client.host if request.client else ""))
            raise
        await _count(dependencies.limiter, "key", caller.id)
        act = f"{request.method} {request.url.path}"
        if self.scope not in caller.scopes:
            await dependencies.run(dependencies.audit_log.record, caller.id, act, "refused")
            raise Forbidden(caller.scopes, self.scope)
        if self.scope == "admin":
            await dependencies.run(dependencies.audit_log.record, caller.id, act, "allowed")
        return caller


async def _count(limiter: Limiter | None, kind: Kind, who: str, cost: int = 1) -> None:
    if limiter and (wait_s := await limiter.wait_s(kind, who, cost)):
        raise TooManyRequests(kind, wait_s)


async def identified(request: Request) -> Caller:
    """The caller by its header, or else by its session.

    Raises:
        NotAuthenticated: there is none.
    """
    auth: Auth = request.app.state.dependencies.auth
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return await auth.caller(authorization)
    caller = auth.session(request.cookies.get(COOKIE, ""))
    if caller is None:
        raise NotAuthenticated(
            "no valid key", "the header 'Authorization: Bearer KEY', or a session", "send a key that is valid"
        )
    if not _is_same_origin(request):
        raise NotAuthenticated(
            "a session's cookie with a request of another site", "the search page's own", "open the page itself"
        )
    return caller


def _is_same_origin(request: Request) -> bool:
    """Whether Sec-Fetch-Site or Origin name the server's own page as sender; without these headers only a GET passes."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method == "GET")
    origin = request.headers.get("origin")
    if origin is not None:
        return origin == f"{request.url.scheme}://{request.url.netloc}"
    return request.method == "GET"


Deps = Annotated[Dependencies, Depends(_dependencies)]
Searcher = Annotated[Caller, Depends(Requires("search"))]
Embedder = Annotated[Caller, Depends(Requires("embed"))]
Reporter = Annotated[Caller, Depends(Requires("events"))]
Admin = Annotated[Caller, Depends(Requires("admin"))]
Observer = Annotated[Caller, Depends(Requires("metrics"))]
