"""The journal: all mutable state. `journal/<n>.json`; whoever creates entry n+1 has won, and the last entry routes.

Each entry names the sha256 of the one before, so an entry that was changed or slipped in by hand is seen.
"""

import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import CorruptArtifact, InputError, NewerVersion, TryAgain, is_newer
from pipelines.settings import settings
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

Action = Literal["promote", "deploy", "rollback", "stage", "weight", "waive", "erase"]
Routed = Literal["challenger", "champion", "share", "nothing"]
ROUTES: Mapping[Action, Routed] = {
    "promote": "challenger",
    "deploy": "champion",
    "rollback": "champion",
    "stage": "share",
    "weight": "share",
    "waive": "nothing",
    "erase": "nothing",
}
"""What each action changes in the routing table. A reader passes over those that change nothing."""
GENESIS = "0" * 64


class Routing(BaseModel):
    """Who serves: the champion takes the default traffic, the challenger is warm beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: str | None = None
    challenger: str | None = None


def _moment(at: str) -> str:
    """`at`, if it is a time that can be compared with any other.

    Raises:
        ValueError: it is no ISO time, or says no offset from UTC.
    """
    if datetime.fromisoformat(at).tzinfo is None:
        raise ValueError(f"{at} says no offset from UTC")
    return at


class Entry(BaseModel):
    """One change of routing: who, when, why, from, to, on which verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    n: int = Field(ge=1)
    at: Annotated[str, AfterValidator(_moment)]
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    action: Action
    from_: str | None = Field(alias="from")
    to: str = Field(min_length=1)
    verdict: str | None
    routing: Routing
    dag: str = ""
    dag_run: str = ""
    attempt: str = ""
    parent: str = Field(pattern="^[0-9a-f]{64}$")


class Journal:
    """The entries as one reader has seen them so far; `refresh` reads on from there."""

    def __init__(self, store: Store, read: bool = True) -> None:
        self.store = store
        self.entries: list[Entry] = []
        self._tip = GENESIS
        if read:
            self.refresh()

    @property
    def routing(self) -> Routing:
        """The routing table: that of the last entry."""
        return self.entries[-1].routing if self.entries else Routing()

    def refresh(self) -> bool:
        """Read entries that were written since. True if there were any.

        Raises:
            CorruptArtifact: an entry is not one that Ratchet wrote after the one before it.
            NewerVersion: an entry has an action or a field that this version does not know.
        """
        before = len(self.entries)
        while (body := self._read(len(self.entries) + 1)) is not None:
            self.entries.append(self._check(body))
            self._tip = digest(body)
        return len(self.entries) > before

    def append(
        self, action: Action, to: str, why: str, routing: Routing | None = None, verdict: str | None = None, who: str = ""
    ) -> Entry:
        """Write the next entry.

        Args:
            action: one of ROUTES.
            to: what it is about: a release, or the subject of an erasure.
            why: the reason that people read.
            routing: the routing table from now on; none where the action does not route.
            verdict: the verdict that it follows.
            who: the name of whoever acts; empty: the settings'.

        Raises:
            TryAgain: another run wrote it first; nothing of this one is kept.
            CorruptArtifact: a file that is not Ratchet's lies behind the last entry; nothing is written.
            InputError: `why` or `who` is empty.
            ValueError: an action that does not route, with another routing than the present one.
        """
        n = len(self.entries) + 1
        routing = self.routing if routing is None else routing
        if ROUTES[action] == "nothing" and routing != self.routing:
            raise ValueError(f"{action} does not route, and can't change {self.routing} to {routing}")
        before = self.routing.challenger if ROUTES[action] == "challenger" else self.routing.champion
        given = settings()
        try:
            entry = Entry(
                n=n, at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), who=who or given.who, why=why, action=action,
                from_=before, to=to, verdict=verdict, routing=routing, dag=given.dag, dag_run=given.dag_run,
                attempt=uuid.uuid4().hex, parent=self._tip,
            )  # fmt: skip
        except ValidationError as error:
            raise InputError(
                f"journal entry with {error.errors()[0]['loc']}", error.errors()[0]["msg"], "give it a value"
            ) from None
        body = entry.model_dump_json(by_alias=True, indent=1).encode()
        self._check_gap(n)
        # An answer that was lost on the network is asked for again by the client, which then meets its own entry.
        if not self.store.create(entry_path(n), body) and self._read(n) != body:
            raise TryAgain(
                f"{action} of {to} as journal entry {n}",
                "that nobody else wrote it meanwhile",
                "look at `history`, then run it again",
            )
        self.entries.append(entry)
        self._tip = digest(body)
        return entry

    def champions(self) -> list[str]:
        """Every release that served the default traffic, oldest first; a release may come again."""
        served: list[str] = []
        for entry in self.entries:
            champion = entry.routing.champion
            if champion and (not served or served[-1] != champion):
                served.append(champion)
        return served

    def previous_champion(self) -> str | None:
        """What a rollback returns to: the champion that the present one replaced, never one that was rolled back from.

        A release that a rollback left, or passed over on its way back, is out until it becomes champion again.
        """
        line: list[str] = []
        for entry in self._of("champion"):
            if entry.action == "rollback":
                del line[-1:]
            if entry.to in line:
                place = line.index(entry.to)
                del line[place : None if entry.action == "rollback" else place + 1]
            line.append(entry.to)
        return line[-2] if len(line) > 1 else None

    def deployment(self) -> Entry | None:
        """The entry that made the present champion champion; none before the first deployment."""
        return next(reversed(self._of("champion")), None)

    def last_routing(self) -> Entry | None:
        """The youngest entry whose action routes."""
        return next((entry for entry in reversed(self.entries) if ROUTES[entry.action] != "nothing"), None)

    def routing_before(self) -> Routing:
        """The routing table that the youngest routing entry replaced."""
        last = self.last_routing()
        return self.entries[last.n - 2].routing if last and last.n > 1 else Routing()

    def _of(self, routed: Routed) -> list[Entry]:
        return [entry for entry in self.entries if ROUTES[entry.action] == routed]

    def latest(self, action: Action, *, to: str = "", left: str = "") -> Entry | None:
        """The youngest entry of an action, to or away from a release."""
        found = (entry for entry in reversed(self.entries) if entry.action == action)
        return next((entry for entry in found if to in ("", entry.to) and left in ("", entry.from_)), None)

    def resumed(self, action: Action, to: str = "") -> Entry | None:
        """The entry that an earlier try of this dag run wrote, which a retry finishes or reports instead of repeating it.

        Others may have written since. A run id alone does not identify it: every DAG has its own `manual__1`.
        """
        given = settings()
        run = (action, given.dag, given.dag_run)
        found = (entry for entry in reversed(self.entries) if (entry.action, entry.dag, entry.dag_run) == run)
        return next((entry for entry in found if entry.to.startswith(to)), None) if given.dag_run else None

    def _read(self, n: int) -> bytes | None:
        try:
            return self.store.read(entry_path(n))
        except FileNotFoundError:
            return None

    def _check(self, body: bytes) -> Entry:
        n = len(self.entries) + 1
        try:
            entry = Entry.model_validate_json(body)
        except ValidationError as error:
            if is_newer(error, {"action"}):
                raise NewerVersion(f"{self.store.uri}/{entry_path(n)}", error) from None
            raise self._corrupt(n, f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None
        if entry.n != n or entry.parent != self._tip:
            raise self._corrupt(n, f"it follows another entry (n {entry.n}, parent {entry.parent[:12]}…)")
        if ROUTES[entry.action] == "nothing" and entry.routing != self.routing:
            raise self._corrupt(n, f"{entry.action} changes the routing")
        return entry

    def _check_gap(self, n: int) -> None:
        """Entry `n` must be the end: what lies behind it without it would be taken for its successor."""
        behind = [name for name in self.store.names("journal/") if name > f"{n:08d}.json"]
        if behind and self._read(n) is None:
            raise self._corrupt(n, f"missing, but {behind[0]} is there")

    def _corrupt(self, n: int, reason: str) -> CorruptArtifact:
        return CorruptArtifact(
            f"{self.store.uri}/{entry_path(n)}: {reason}",
            f"the entry that Ratchet wrote after number {n - 1}",
            "find who wrote it, move it away; what it routed is not followed",
        )


def entry_path(n: int) -> str:
    """Where entry `n` lies.

    >>> entry_path(7)
    'journal/00000007.json'
    """
    return f"journal/{n:08d}.json"
