"""What servers count of a deployment, minute by minute, and write into the store: one object for each process and entry.

The store is what all replicas share already, on a laptop as in a cluster, so nothing has to know how many there are or where.
A process replaces its own object, so that a click counts for the minute of its search. It holds numbers alone: no query and no
user.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.deployment.guardrails import BUCKETS, FIRST_MINUTES, GROUPS, Counts
from pipelines.errors import CorruptArtifact
from pipelines.store.gc import COUNTS
from pipelines.store.objects import Store

DEPTH = 10
"""Documents of two rankings that are compared."""
SILENT = 3
"""Minutes in a row without a word of a server after which it counts as silent."""
Arm = Literal["champion", "challenger"]
ARMS: tuple[Arm, Arm] = ("champion", "challenger")
TALLIES = ("searches", "errors", "empty", "clicked")
SEARCHES, ERRORS, EMPTY, CLICKED = range(len(TALLIES))
OF_GROUPS = {"errors": ERRORS, "empty": EMPTY, "clicks": CLICKED}
"""By guardrail: its place in TALLIES, as groups have them."""


class _Counted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tally(_Counted):
    """One arm in one minute: the searches of users whom the split assigned."""

    searches: int = Field(0, ge=0)
    errors: int = Field(0, ge=0)
    """Those that ended with an error of the server."""
    empty: int = Field(0, ge=0)
    clicked: int = Field(0, ge=0)
    latency: dict[int, int] = {}
    """By bucket: how many rankings took so long, with the log. What was ranked together counts once, what is kept not."""


class Minute(_Counted):
    """One minute of one process."""

    minute: int
    """Its number since 1970, in intervals of `interval_s`."""
    ready: bool
    memory_mb: float | None
    champion: Tally = Tally()
    challenger: Tally = Tally()
    shadow_champion: Tally = Tally()
    """Searches that both releases ranked unseen, each for itself."""
    shadow_challenger: Tally = Tally()
    overlap: float = Field(0.0, ge=0)
    """The sum of the shares of the first ten that both have, over searches that both ranked without an error."""
    overlapped: int = Field(0, ge=0)
    """How many searches these are."""


_Group = Annotated[list[int], Field(min_length=len(TALLIES), max_length=len(TALLIES))]


class ServerCounts(_Counted):
    """What one process counted under one entry of the journal."""

    server: str
    """Host and port, which a restarted process has again."""
    started: float
    """When the process began, in seconds since 1970."""
    entry: int = Field(ge=1)
    interval_s: float = Field(gt=0)
    minutes: list[Minute]
    groups: dict[Arm, Annotated[list[_Group], Field(min_length=GROUPS, max_length=GROUPS)]]
    """TALLIES of each group of an arm's users, over all minutes."""


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The share of documents that two lists have in common, of the longer one; 1: both are empty.

    >>> overlap(["a", "b"], ["b", "c", "d", "e"])
    0.25
    """
    longer = max(len(ours), len(theirs))
    return len({*ours} & {*theirs}) / longer if longer else 1.0


def counts_path(counts: ServerCounts) -> str:
    """The path of a process's counts in the store.

    >>> counts_path(ServerCounts(server="host:80", started=1.5, entry=7, interval_s=60, minutes=[], groups={}))
    'counts/00000007/host%3A80-1500.json'
    """
    return f"{COUNTS}/{counts.entry:08d}/{quote(counts.server, safe='')}-{round(1000 * counts.started)}.json"


def write_counts(store: Store, counts: ServerCounts) -> None:
    """Write or replace them.

    Raises:
        TryAgain, InputError: the store can't be written.
    """
    store.write(counts_path(counts), counts.model_dump_json(exclude_defaults=True).encode())


def read_counts(store: Store, entries: Sequence[int]) -> list[ServerCounts]:
    """What all processes counted under some entries of the journal.

    Raises:
        CorruptArtifact: an object is not one that a server of this version wrote.
    """
    read, unreadable = readable_counts(store, entries)
    for path, reason in unreadable.items():
        raise CorruptArtifact(f"{store.uri}/{path}: {reason}", "counts as a server of this version writes them", "move it away")
    return read


def readable_counts(store: Store, entries: Sequence[int]) -> tuple[list[ServerCounts], dict[str, str]]:
    """The same without what can't be read, and of that, by path, the reason: a damaged object, or one of another version."""
    read, unreadable = [], {}
    for entry in entries:
        for name in store.names(f"{COUNTS}/{entry:08d}/"):
            path = f"{COUNTS}/{entry:08d}/{name}"
            try:
                read.append(ServerCounts.model_validate_json(store.read(path)))
            except ValidationError as error:
                unreadable[path] = str(error).splitlines()[0]
    return read, unreadable


def counted_since(read: Sequence[ServerCounts], since: float) -> list[ServerCounts]:
    """The same without minutes that ended before a time, in seconds since 1970, and without processes that have no other."""
    recent = [
        counts.model_copy(update={"minutes": [minute for minute in counts.minutes if _end(counts, minute) > since]})
        for counts in read
    ]
    return [counts for counts in recent if counts.minutes]


def silent_of(read: Sequence[ServerCounts], since: float, now: float) -> int:
    """For how many minutes no server has told anything: each does once a minute, also where nobody searches.

    Args:
        read: what processes counted.
        since: when the deployment began, in seconds since 1970.
        now: the time, alike.
    """
    told = max((_end(counts, minute) for counts in read for minute in counts.minutes), default=since)
    return max(0, int((now - max(since, told)) / 60))


def _end(counts: ServerCounts, minute: Minute) -> float:
    return (minute.minute + 1) * counts.interval_s


def counts_of(read: Sequence[ServerCounts], unseen: Collection[int] = frozenset()) -> tuple[Counts, list[tuple[int, int]]]:
    """The strata of all processes together, and what each is: entry and minute, oldest first.

    Args:
        read: what processes counted.
        unseen: entries under which nobody had the challenger: of them, the searches count that both releases ranked in shadow.
            Groups are of the champion's users all the same.
    """
    keys = sorted({(minute.minute, counts.entry) for counts in read for minute in counts.minutes})
    place = {key: number for number, key in enumerate(keys)}
    tallies = {name: np.zeros((len(keys), 2)) for name in TALLIES}
    latency = np.zeros((len(keys), 2, BUCKETS))
    groups = np.zeros((len(TALLIES), len(ARMS), GROUPS))
    for counts in read:
        for number, name_of_arm in enumerate(ARMS):
            groups[:, number] += np.array(counts.groups[name_of_arm], float).T if name_of_arm in counts.groups else 0
        for minute in counts.minutes:
            here = place[minute.minute, counts.entry]
            in_shadow = minute.shadow_champion, minute.shadow_challenger
            arms = in_shadow if counts.entry in unseen else (minute.champion, minute.challenger)
            for arm, tally in enumerate(arms):
                for name, values in tallies.items():
                    values[here, arm] += getattr(tally, name)
                for bucket, times in tally.latency.items():
                    latency[here, arm, min(bucket, BUCKETS - 1)] += times
    of_groups = {name: (groups[number], groups[0]) for name, number in OF_GROUPS.items()}
    counts_by_name: dict[str, Any] = {**tallies, "latency": latency, "memory": _memory(read, place), "groups": of_groups}
    seen = next((number for number, (_, entry) in enumerate(keys) if entry not in unseen), len(keys))
    return Counts(**counts_by_name, shadow=seen), [(entry, minute) for minute, entry in keys]


def overlap_of(read: Sequence[ServerCounts], unseen: Collection[int]) -> tuple[float, int]:
    """The mean share of the first ten that both releases have, of the searches that the champion ranked in shadow; how many.

    Where the challenger fails, they have nothing in common: else one that fails all its searches would have no overlap at all.
    """
    minutes = [minute for counts in read if counts.entry in unseen for minute in counts.minutes]
    searches = sum(sum(minute.shadow_champion.latency.values()) for minute in minutes)
    return sum(minute.overlap for minute in minutes) / max(searches, 1), searches


def reporting_of(read: Sequence[ServerCounts]) -> tuple[int, int]:
    """How many servers report now, and how many did at most for SILENT minutes in a row; a restarted one is the same server.

    Now is the newest minute that any server has told of, so that nothing depends on the clock of whoever reads.

    >>> told = {"a:1": range(10), "b:1": range(5)}
    >>> reporting_of([
    ...     ServerCounts(server=server, started=1.0, entry=7, interval_s=60, groups={},
    ...         minutes=[Minute(minute=minute, ready=True, memory_mb=1) for minute in minutes])
    ...     for server, minutes in told.items()
    ... ])
    (1, 2)
    """
    told: dict[int, set[str]] = {}
    for counts in read:
        for minute in counts.minutes:
            told.setdefault(minute.minute, set()).add(counts.server)
    rows = {last: [told.get(last - back, set()) for back in range(SILENT)] for last in told}
    now = set[str]().union(*rows[max(told)]) if told else set()
    return len(now), max((len(set.intersection(*row)) for row in rows.values()), default=0)


def _memory(read: Sequence[ServerCounts], place: Mapping[tuple[int, int], int]) -> Any:
    """The memory of each stratum relative to a process's first minutes, the mean of those that told it."""
    processes: dict[tuple[str, float], list[tuple[int, float]]] = {}
    for counts in read:
        told = processes.setdefault((counts.server, counts.started), [])
        told += [(place[minute.minute, counts.entry], minute.memory_mb) for minute in counts.minutes if minute.memory_mb]
    total, number = np.zeros(len(place)), np.zeros(len(place))
    for told in processes.values():
        first = float(np.mean([megabytes for _, megabytes in sorted(told)[:FIRST_MINUTES]])) if told else 1.0
        for here, megabytes in told:
            total[here] += megabytes / first
            number[here] += 1
    memory, last = np.ones(len(place)), 1.0
    for here in range(len(place)):
        last = float(total[here] / number[here]) if number[here] else last
        memory[here] = last
    return memory


def restarts_of(read: Sequence[ServerCounts], since: float) -> int:
    """How many processes began in the place of an earlier one since a time, in seconds since 1970."""
    starts: dict[str, set[float]] = {}
    for counts in read:
        starts.setdefault(counts.server, set()).add(counts.started)
    return sum(sum(start > max(since, min(of_server)) for start in of_server) for of_server in starts.values())


def not_ready_of(read: Sequence[ServerCounts]) -> int:
    """For how many minutes in a row, up to its last one, a server says that it is not ready; the most of all servers."""
    ready: dict[str, dict[int, bool]] = {}
    for counts in sorted(read, key=lambda counts: (counts.started, counts.entry)):  # a minute of two entries: the later says
        ready.setdefault(counts.server, {}).update((minute.minute, minute.ready) for minute in counts.minutes)
    longest = 0
    for minutes in ready.values():
        row = 0
        for minute in sorted(minutes):
            row = 0 if minutes[minute] else row + 1
        longest = max(longest, row)
    return longest
