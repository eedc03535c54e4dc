"""Which release answers a search: by the journal's roles, the split's assignment of users, and what the caller names."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from images.serve.errors import NotFound
from images.serve.requests import SearchRequest
from images.serve.watcher import State
from pipelines import tracing
from pipelines.corpus.exposure import ListKind, Policy
from pipelines.deployment.toggles import Toggles
from pipelines.errors import TryAgain
from pipelines.experiments.assignment import assign
from pipelines.masking import masked
from pipelines.retrieval.release import Release
from pipelines.retrieval.stages.fusion import CANDIDATES

if TYPE_CHECKING:
    from opentelemetry.trace import Span

FRESH_S = 60
"""Seconds within which a kept ranking may have features of before."""
UNTOGGLED = Toggles(rerank_ms=0)


@dataclass(frozen=True)
class Search:
    """A search that waits for its answer."""

    parameters: SearchRequest
    user: str
    """The user's id, by which a release is assigned; empty: unknown."""
    pseudonym: str
    """Of the user, as it is written down."""
    caller: str
    kind: ListKind = "search"
    since: float = field(default_factory=time.perf_counter)
    span: "Span | None" = field(default_factory=tracing.current_span)
    """Of the request that it is, if it is traced."""


@dataclass(frozen=True)
class Assigned:
    """The release that answers, and why it does."""

    release: Release
    policy: Policy
    """Its role."""
    split: str = ""
    """The name of the split that assigned the user; empty: none did."""

    def in_experiment(self, search: Search) -> dict[str, str]:
        """The experiment and its variant, as both are written down: the caller's own, or else the split's."""
        own = search.parameters
        if own.experiment:
            return {"experiment": masked(own.experiment), "variant": masked(own.variant)}
        return {"experiment": self.split, "variant": self.policy if self.split else ""}


@dataclass(frozen=True)
class Routed:
    """A search with its release, and the documents of `like` and `exclude` that the release has."""

    search: Search
    assigned: Assigned
    history: list[str]
    exclude: list[str]
    minute: int
    """In which it was asked, where features may change its ranking; else 0."""

    @property
    def release(self) -> Release:
        """The release that answers."""
        return self.assigned.release

    @property
    def k(self) -> int:
        """How many documents are asked for."""
        return self.search.parameters.k or UNTOGGLED.k

    @property
    def depth(self) -> int:
        """How many documents each stage ranks."""
        return max(self.k, CANDIDATES) if self.search.parameters.explain else self.k

    @property
    def group(self) -> Hashable:
        """What searches that are ranked together have in common: one of an index is as deep as most documents are left out."""
        return self.release.id, self.depth, len({*self.history, *self.exclude}), tuple(self.search.parameters.filter)

    @property
    def key(self) -> Hashable:
        """What the ranking follows from."""
        parameters = self.search.parameters
        chosen = tuple(parameters.filter), frozenset(self.exclude)
        return self.release.id, self.minute, self.depth, parameters.q or "", tuple(self.history), *chosen

    def is_compared(self, state: State) -> bool:
        """Whether nothing but the split chose the release, so that the search is one that releases are compared by."""
        by_caller = self.search.parameters.release or self.search.parameters.experiment
        return bool(self.search.user and not by_caller and (self.assigned.split or state.split is None))

    @property
    def about_nobody(self) -> bool:
        """Whether it asks for recommendations, and the release has none of the user's items."""
        return self.search.kind == "recommendation" and not self.history

    @property
    def wanted(self) -> dict[str, list[str]]:
        """By field, the values of which a document must have one; empty: any document will do."""
        wanted: dict[str, list[str]] = {}
        for name, _, value in (part.partition("=") for part in self.search.parameters.filter):
            wanted.setdefault(name, []).append(value)
        return wanted


def assigned(state: State, user: str, named: Policy | None) -> Assigned:
    """The release that answers a user: the one that the caller names, or else the one that the split assigns.

    Without a split or a user it is the champion. So it is on a server that has not loaded the challenger yet: it assigns
    nobody, and no experiment counts its answers.

    Raises:
        TryAgain: nothing serves yet.
        NotFound: no release has the role that is named.
    """
    split = state.split
    if named or not (user and split and state.challenger):
        return Assigned(_in_role(state, named or "champion"), named or "champion")
    weights = {"challenger": split.share, "champion": 1 - split.share}
    role: Policy = "challenger" if assign(user, split.name, weights) == "challenger" else "champion"
    return Assigned(_in_role(state, role), role, split.name)


def routed(search: Search, assignment: Assigned) -> Routed:
    """A search for a release, once it is sure that the release can answer it.

    Raises:
        InputError: no document has a field of its filter.
        NotFound: the release has none of its documents, or does not know what most users choose.
    """
    release, parameters = assignment.release, search.parameters
    minute = int(time.time() // FRESH_S) if release.ranker and release.ranker.blend else 0
    ready = Routed(search, assignment, release.known(parameters.like), release.known(parameters.exclude), minute)
    release.fields.check(ready.wanted)
    if ready.about_nobody and not release.counts_choices:
        raise NotFound(
            f"no item that release {release.id[:8]} has",
            "an item, or a release with the stage popularity",
            "send documents that the user chose as item",
        )
    if parameters.like and not ready.history and not ready.about_nobody:
        raise NotFound(
            f"like {', '.join(parameters.like)[:80]!r}",
            f"a document of release {release.id[:8]}",
            "take an id from a search's results",
        )
    return ready


def _in_role(state: State, policy: Policy) -> Release:
    if state.champion is None:
        short = state.problem.short if state.problem else "loading"
        raise TryAgain(f"a request ({short})", "a champion to answer it", "ask again later; /readyz tells more with the key")
    release: Release | None = getattr(state, policy)
    if release is None:
        missing = {
            "challenger": ("a challenger beside the champion", "leave it out, or promote a release"),
            "previous": ("a champion before the present one", "leave it out, or deploy another release"),
        }
        raise NotFound(f"release={policy}", *missing[policy])
    return release
