"""Waivers: a person lets a release pass that the rules could not decide on, or sets a rule aside, under a name, for a time.

Each is an entry of the journal, whose reason names the last day on which it holds. Until then every report shows it.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from pipelines.errors import InputError
from pipelines.gates.verdict import VerdictSummary, read_summary
from pipelines.store.artifacts import Artifact
from pipelines.store.journal import Entry, Journal

DAYS, MOST_DAYS = 30, 366
"""How long a waiver holds where nobody says, and at most."""
RULE = "rule "
"""What the subject of an entry begins with that sets a rule aside."""
UNTIL = re.compile(r"(.*?) \[until (\d{4}-\d\d-\d\d)\]: (.*)", re.DOTALL)
PROMOTED = "waived, "
"""What the reason of a promotion begins with that followed no passing verdict."""


class Waiver(NamedTuple):
    """Who lets a release pass that the rules could not decide on, and why."""

    who: str
    why: str


class ActiveWaiver(NamedTuple):
    """A waiver that holds today."""

    entry: int
    subject: str
    """A release, a verdict, or `rule NAME`."""
    who: str
    why: str
    until: date

    @property
    def sentence(self) -> str:
        return f"waiver until {self.until} by {self.who} (journal entry {self.entry}) for {self.subject}: {self.why}"


def last_day(until: str, today: date | None = None) -> date:
    """The day that a waiver ends: `until`, or 30 days from today.

    Raises:
        InputError: it is no day, or not one of the next 366.

    >>> last_day("", date(2026, 11, 29))
    datetime.date(2026, 12, 29)
    """
    today = today or datetime.now(UTC).date()
    try:
        day = date.fromisoformat(until) if until else today + timedelta(days=DAYS)
    except ValueError:
        raise InputError(f"--until {until}", "a day such as 2026-12-31", "correct it") from None
    if not today <= day <= today + timedelta(days=MOST_DAYS):
        raise InputError(f"--until {until}", f"a day from {today} to {today + timedelta(days=MOST_DAYS)}", "correct it")
    return day


def timed(what: str, until: date, why: str) -> str:
    """The reason of an entry that holds until a day.

    >>> timed("waived, undecided: nDCG@10 −0.01", date(2026, 12, 31), "the shop opens")
    'waived, undecided: nDCG@10 −0.01 [until 2026-12-31]: the shop opens'
    """
    return f"{what} [until {until}]: {why}"


def waivers_in_force(journal: Journal, today: date | None = None) -> list[ActiveWaiver]:
    """The waivers that hold today, oldest first."""
    today = today or datetime.now(UTC).date()
    found = [waiver for entry in journal.entries if (waiver := _of_entry(entry)) is not None]
    return [waiver for waiver in found if today <= waiver.until]


def _of_entry(entry: Entry) -> ActiveWaiver | None:
    waives = entry.action == "waive" or (entry.action == "promote" and entry.why.startswith(PROMOTED))
    parts = UNTIL.fullmatch(entry.why) if waives else None
    if parts is None:
        return None
    try:
        until = date.fromisoformat(parts[2])
    except ValueError:  # a reason that somebody wrote, of a day such as 2026-02-31
        return None
    return ActiveWaiver(entry.n, entry.to, entry.who, f"{parts[3]} ({parts[1]})", until)


def read_allowed(artifact: Artifact, waiver: Waiver | None, waived_before: bool = False, stale: bool = False) -> VerdictSummary:
    """The summary of a verdict that allows a promotion: it passed, or it could not decide and is waived.

    Args:
        artifact: the verdict.
        waiver: of whoever promotes.
        waived_before: whether a waiver of this verdict is in the journal and holds.
        stale: whether it rests on rules or code of before, so that a waiver may be of a pass, too.

    Raises:
        InputError: it did not pass and can't be waived, or the waiver lacks a name or a reason.
        CorruptArtifact: see `read_summary`.
    """
    verdict = read_summary(artifact)
    if waiver:
        if not (stale and verdict.outcome == "passed"):
            check_waivable(artifact.id, verdict)
        check_signed(waiver)
    elif verdict.outcome != "passed" and not (waived_before and is_waivable(verdict)):
        improve = "improve the release, judge it again"
        waive = "judge a pool (`python -m pipelines pool`), or pass --waive true with --who and --why"
        raise InputError(
            f"verdict {artifact.id}: {verdict.sentence}", "a verdict that passed", waive if is_waivable(verdict) else improve
        )
    return verdict


def is_waivable(verdict: VerdictSummary) -> bool:
    """Whether a person may decide instead: the rules could not, and it is not the champion's own verdict."""
    return verdict.outcome not in ("passed", "rejected") and verdict.release != verdict.champion


def check_waivable(verdict_id: str, verdict: VerdictSummary) -> None:
    """Refuse a waiver of a verdict that decided, or of the champion's own.

    Raises:
        InputError: says what can be waived.
    """
    if not is_waivable(verdict):
        raise InputError(
            f"--waive for verdict {verdict_id}: {verdict.sentence}",
            "a verdict that could not decide: undecided, not comparable, or not run for want of judgments",
            "leave out --waive",
        )


def check_signed(waiver: Waiver) -> None:
    """Refuse a waiver without a name or a reason.

    Raises:
        InputError: one is missing.
    """
    if not waiver.why.strip() or not waiver.who.strip():
        raise InputError("--waive without a name or a reason", "both, for the journal", "pass --who NAME --why REASON")
