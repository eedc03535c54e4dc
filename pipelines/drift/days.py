"""Days: how one is named, and the snapshots and reports of the days before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.objects import Store
from pipelines.store.recipes import Kind


@dataclass(frozen=True)
class Past:
    """The snapshots of a series before a day, one for each day, and what is odd about them."""

    snapshots: list[Artifact]
    notes: list[str]


def day_of(given: str) -> str:
    """The day; where none is given yesterday (UTC), the last day that is over: today's searches are not all there yet.

    >>> day_of("2026-01-31")
    '2026-01-31'

    Raises:
        InputError: it is no day.
    """
    try:
        day = date.fromisoformat(given) if given else datetime.now(UTC).date() - timedelta(days=1)
    except ValueError:
        raise InputError(f"--day {given}", "a day such as 2026-01-31", "correct it, or leave it out for yesterday") from None
    return day.isoformat()


def past_of(store: Store, series: str, day: str, most: int) -> Past:
    """The snapshots of a series before a day, oldest first.

    Args:
        store: that has them.
        series: its name; empty: a snapshot that stands alone has no past.
        day: as `day_of` gives it.
        most: snapshots, the youngest.
    """
    by_day = _by_day(store, "snapshot", series, day)
    kept = sorted(by_day)[-most:]
    snapshots = [_youngest(by_day[one]) for one in kept]
    notes = []
    if twice := [one for one in kept if len(by_day[one]) > 1]:
        notes.append(f"Days with several snapshots, of which the youngest counts: {', '.join(twice[:5])}.")
    if kept and (lacking := (date.fromisoformat(day) - date.fromisoformat(kept[0])).days - len(kept)):
        notes.append(
            f"Days without a snapshot since {kept[0]}: {lacking}. They are left out; gradual drift counts days that are."
        )
    return Past(snapshots, notes)


def reports_before(store: Store, series: str, day: str, most: int) -> list[Artifact]:
    """What was judged of the days of a series before a day, the youngest of each, oldest day first; at most `most` days."""
    by_day = _by_day(store, "drift", series, day)
    return [_youngest(by_day[one]) for one in sorted(by_day)[-most:]]


def last_gradual(store: Store, series: str, day: str) -> str:
    """The last day before a day with an alarm of gradual drift; empty: there was none."""
    told = [
        artifact.facts["day"]
        for artifact in _of_series(store, "drift", series)
        if artifact.facts["gradual"] and artifact.facts["day"] < day
    ]
    return max(told, default="")


def _by_day(store: Store, kind: Kind, series: str, before: str) -> dict[str, list[Artifact]]:
    by_day: dict[str, list[Artifact]] = {}
    for artifact in _of_series(store, kind, series) if series else ():
        if artifact.facts["day"] < before:
            by_day.setdefault(artifact.facts["day"], []).append(artifact)
    return by_day


def _youngest(several: list[Artifact]) -> Artifact:
    return max(several, key=lambda artifact: (str(artifact.manifest.provenance["at"]), artifact.id))


def _of_series(store: Store, kind: Kind, series: str) -> Iterator[Artifact]:
    for name in committed(store, kind):
        artifact = load_exactly(store, kind, name)
        if series and artifact.facts["series"] == series:
            yield artifact
