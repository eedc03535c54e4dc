"""The journal: all mutable state, as entries `journal/<n>.json`. Whoever creates entry n+1 wins; the last entry routes.

Each entry has the sha256 of the entry before, so an entry that was changed or inserted by hand is detected.
"""

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import CorruptArtifact, InputError, NewerVersion, TryAgain, is_newer
from pipelines.settings import settings
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

Action = Literal["promote", "deploy", "rollback", "stage", "weight", "waive", "erase", "repair", "toggle"]
Routed = Literal["challenger", "champion", "share", "nothing"]
ROUTES: Mapping[Action, Routed] = {
    "promote": "challenger",
    "deploy": "champion",
    "rollback": "champion",
    "stage": "share",
    "weight": "share",
    "waive": "nothing",
    "erase": "nothing",
    "repair": "nothing",
    "toggle": "nothing",
}
"""What each action changes in the routing table; share: how many users the challenger answers, or how many searches it answers
unseen. Readers of the routing skip actions that change nothing."""
GENESIS = "0" * 64
ToggleValue = bool | int | float | None
"""None: as the settings of each server have it."""


class Split(BaseModel):
    """A share of the users whose searches the challenger answers in place of the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]{1,60}$")
    """The name of the experiment, and the salt by which users are assigned: with another share it stays, so that a user who
    has the challenger keeps it while the share grows."""
    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    """0: nobody yet, as in the stage of a deployment by evidence before its first users."""


class Routing(BaseModel):
    """The routing table: the champion takes the default traffic, the challenger is loaded beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: str | None = None
    challenger: str | None = None
    split: Split | None = Field(None, exclude_if=lambda split: split is None)
    """None: the challenger answers only who asks for it."""
    shadow: float | None = Field(None, gt=0, le=1, allow_inf_nan=False, exclude_if=lambda shadow: shadow is None)
    """The share of the champion's searches that the challenger answers, too, without anybody seeing it; none: no search."""

    @property
    def roles(self) -> dict[str, str | None]:
        """The release of each role."""
        return {"champion": self.champion, "challenger": self.challenger}

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.split or self.shadow) and not (self.champion and self.challenger):
            raise ValueError("a split or a shadow only with a champion and a challenger")
        return self


class Toggle(BaseModel):
    """A change of something that the search server does, whatever it serves: see `pipelines/deployment/toggles.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z_]{1,60}$")
    value: ToggleValue


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
    toggle: Toggle | None = Field(None, exclude_if=lambda toggle: toggle is None)
    """What an entry of action toggle changes."""
    dag: str = ""
    dag_run: str = ""
    attempt: str = ""
    parent: str = Field(pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _toggles(self) -> Self:
        if (self.action == "toggle") != (self.toggle is not None):
            raise ValueError("a toggle in entries of action toggle alone")
        return self


class Journal:
    """The entries that were read so far; `refresh` reads those written since."""

    def __init__(self, store: Store, read: bool = True) -> None:
        self.store = store
        self.entries: list[Entry] = []
        self._tip = GENESIS
        self.identity = ""
        """The sha256 of the first entry, which tells this journal from all others; empty: there is no entry yet."""
        if read:
            self.refresh()

    @property
    def tip(self) -> str:
        """The sha256 of the last entry as it is stored, which the next one will name."""
        return self._tip

    @property
    def routing(self) -> Routing:
        """The routing table: that of the last entry."""
        return self.entries[-1].routing if self.entries else Routing()

    @property
    def toggles(self) -> dict[str, ToggleValue]:
        """What was toggled last, by name, without what is again as the settings have it."""
        toggles = {entry.toggle.name: entry.toggle.value for entry in self.entries if entry.toggle}
        return {name: value for name, value in toggles.items() if value is not None}

    def refresh(self) -> bool:
        """Read entries that were written since. True if there were any.

        Raises:
            CorruptArtifact: an entry is not one that Ratchet wrote after the one before it.
            NewerVersion: an entry has an action or a field that this version does not know.
        """
        before = len(self.entries)
        while (body := self._read(len(self.entries) + 1)) is not None:
            self.entries.append(self._check(body))
            self._reach(body)
        return len(self.entries) > before

    def append(
        self, action: Action, to: str, why: str, routing: Routing | None = None, verdict: str | None = None, who: str = "",
        toggle: Toggle | None = None,
    ) -> Entry:  # fmt: skip
        """Write the next entry.

        Args:
            action: one of ROUTES.
            to: what it is about: a release, the subject of an erasure, a repair such as re-embed, or a toggle with its value.
            why: the reason that people read.
            routing: the routing table from now on; none where the action does not route.
            verdict: the verdict that it follows.
            who: the name of whoever acts; empty: the settings'.
            toggle: what an entry of action toggle changes.

        Raises:
            TryAgain: another run wrote it first; nothing of this one is kept.
            CorruptArtifact: a file that is not Ratchet's lies behind the last entry; nothing is written.
            InputError: `why` or `who` is empty.
            ValueError: the action may not change the routing so.
        """
        n = len(self.entries) + 1
        routing = self.routing if routing is None else routing
        if not _may_route(action, self.routing, routing):
            raise ValueError(f"{action} can't change {self.routing} to {routing}")
        before = self.routing.challenger if ROUTES[action] == "challenger" else self.routing.champion
        current = settings()
        try:
            entry = Entry(
                n=n,
                at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                who=who or current.who,
                why=why,
                action=action,
                from_=before,
                to=to,
                verdict=verdict,
                routing=routing,
                toggle=toggle,
                dag=current.dag,
                dag_run=current.dag_run,
                attempt=uuid.uuid4().hex,
                parent=self._tip,
            )
        except ValidationError as error:
            raise InputError(
                f"journal entry with {error.errors()[0]['loc']}", error.errors()[0]["msg"], "give it a value"
            ) from None
        body = entry.model_dump_json(by_alias=True, indent=1).encode()
        self._check_gap(n)
        # Where a response was lost, the client retries the write and meets its own entry, which is a success.
        if not self.store.create(entry_path(n), body) and (first := self._read(n)) != body:
            raise self._beaten(entry, first)
        self.entries.append(entry)
        self._reach(body)
        return entry

    def _beaten(self, entry: Entry, first: bytes | None) -> TryAgain:
        """The error where another run wrote the entry first."""
        winner = self._check(first) if first else None
        won = f", which {winner.who} wrote first: {winner.action} to {winner.to}" if winner else ""
        return TryAgain(
            f"{entry.action} of {entry.to} as journal entry {entry.n}{won}",
            "that nobody else wrote it meanwhile",
            "look at `history`, then run it again",
        )

    def _reach(self, body: bytes) -> None:
        self._tip = digest(body)
        self.identity = self.identity or self._tip

    def champions(self) -> list[str]:
        """Every release that served the default traffic, oldest first; a release may come again."""
        served: list[str] = []
        for entry in self.entries:
            champion = entry.routing.champion
            if champion and (not served or served[-1] != champion):
                served.append(champion)
        return served

    def standing_champions(self) -> list[str]:
        """The champions without those that were rolled back, oldest first; the last one is the present champion.

        A release that a rollback left or skipped stands again once it becomes champion again. One that held what was erased
        is gone, and stands no more.
        """
        line: list[str] = []
        for entry in self._of("champion"):
            if entry.action == "rollback":
                del line[-1:]
            if entry.to in line:
                place = line.index(entry.to)
                del line[place : None if entry.action == "rollback" else place + 1]
            line.append(entry.to)
        erased = self.erased_releases
        return [release for release in line if release not in erased]

    @property
    def erased_releases(self) -> set[str]:
        """Releases that are gone because they held what was erased; among them the names of erasures, which no release has."""
        return {entry.to for entry in self.entries if entry.action == "erase"}

    def previous_champion(self) -> str | None:
        """The release that a rollback returns to: the standing champion before the present one."""
        line = self.standing_champions()
        return line[-2] if len(line) > 1 else None

    def deployment(self) -> Entry | None:
        """The entry that made the present champion champion; none before the first deployment."""
        return next(reversed(self._of("champion")), None)

    def last_routing(self) -> Entry | None:
        """The youngest entry whose action routes."""
        return next((entry for entry in reversed(self.entries) if ROUTES[entry.action] != "nothing"), None)

    def until(self, n: int) -> "Journal":
        """This journal as it was when entry `n` was the last one, to be read and not written."""
        earlier = Journal(self.store, read=False)
        earlier.entries, earlier.identity = self.entries[:n], self.identity if n else ""
        return earlier

    def at(self, moment: datetime) -> "Journal":
        """This journal as it had been written at a time, to be read and not written.

        Entries follow each other by their number. Where the clock of a writer was behind, an entry counts as written together
        with the one before it.
        """
        written = [datetime.fromisoformat(entry.at) for entry in self.entries]
        return self.until(next((n for n in range(len(written)) if max(written[: n + 1]) > moment), len(written)))

    def behind(self) -> list[Entry]:
        """The entries whose time is earlier than that of the entry before: the clocks of their writers differ."""
        pairs = zip(self.entries, self.entries[1:], strict=False)
        return [later for before, later in pairs if datetime.fromisoformat(later.at) < datetime.fromisoformat(before.at)]

    def _of(self, routed: Routed) -> list[Entry]:
        return [entry for entry in self.entries if ROUTES[entry.action] == routed]

    def latest(self, action: Action, *, to: str = "", left: str = "") -> Entry | None:
        """The youngest entry of an action, to or away from a release."""
        entries = (entry for entry in reversed(self.entries) if entry.action == action)
        return next((entry for entry in entries if to in ("", entry.to) and left in ("", entry.from_)), None)

    def resumed(self, action: Action, to: str = "") -> Entry | None:
        """The youngest entry of this action by this dag run, which an earlier try wrote; None outside a dag run.

        Other runs may have written since. The DAG's id is compared, too: run ids such as `manual__1` repeat across DAGs.
        """
        current = settings()
        run = (action, current.dag, current.dag_run)
        entries = (entry for entry in reversed(self.entries) if (entry.action, entry.dag, entry.dag_run) == run)
        return next((entry for entry in entries if entry.to.startswith(to)), None) if current.dag_run else None

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
        if not _may_route(entry.action, self.routing, entry.routing):
            raise self._corrupt(n, f"{entry.action} changes the routing")
        return entry

    def _check_gap(self, n: int) -> None:
        """Refuse to write entry `n` where it is missing and later ones are there, which would then seem to follow it."""
        behind = [name for name in self.store.names("journal/") if name > f"{n:08d}.json"]
        if behind and self._read(n) is None:
            raise self._corrupt(n, f"missing, but {behind[0]} is there")

    def _corrupt(self, n: int, reason: str) -> CorruptArtifact:
        return CorruptArtifact(
            f"{self.store.uri}/{entry_path(n)}: {reason}",
            f"the entry that Ratchet wrote after number {n - 1}",
            "find who wrote it, move it away; what it routed is not followed",
        )


def _may_route(action: Action, before: Routing, after: Routing) -> bool:
    """Whether an action may change the routing so. Those that set a champion or a challenger may change all of it."""
    if ROUTES[action] == "share":
        return after.roles == before.roles
    return ROUTES[action] != "nothing" or after == before


def moment(option: str, text: str) -> datetime:
    """A time that a user gave, in UTC unless it says otherwise.

    >>> moment("--at", "2026-11-23T14:05+01:00").isoformat()
    '2026-11-23T14:05:00+01:00'

    Raises:
        InputError: it is no time in ISO form.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}", "a time in ISO form", f"pass for example {option} 2026-11-23T14:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def entry_path(n: int) -> str:
    """The path of entry `n` in the store.

    >>> entry_path(7)
    'journal/00000007.json'
    """
    return f"journal/{n:08d}.json"
