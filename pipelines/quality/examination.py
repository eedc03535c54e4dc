"""The examination of a corpus and of logs: loaded, measured, scanned, and checked by a suite."""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.quality.expectations import Outcome, check_suite, evaluate
from pipelines.quality.language import languages, tell_languages
from pipelines.quality.loading import COUNTED, Staged, Tally, load_corpus, load_events
from pipelines.quality.personal import Part, scan
from pipelines.quality.suite import Suite
from pipelines.store.artifacts import Artifact, find, load
from pipelines.store.journal import Journal
from pipelines.store.objects import Store
from pipelines.store.releases import resolve

OF_CORPUS = ("documents", "queries", "qrels", "interactions", "users", "user_fields", "corpus")
OF_EVENTS = ("exposures", "shown", "clicks")
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Lower ends of the groups of lengths that a report shows."""
NAMED = 5
STATUSES = ("passed", "warned", "failed", "not run", "proposed")


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "check"), counted(1200, "check")
    ('1 check', '1,200 checks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class CheckInputs:
    """What is examined: a corpus, logs, or both."""

    corpus: Artifact | None
    previous: Artifact | None
    events: Path | None
    sizes: Mapping[str, int]
    """The logs and how far they are read."""
    suite: Suite
    on: date
    personal: int
    """Texts of each part that are scanned for personal data."""


@dataclass
class Examination:
    """What was found."""

    asked: CheckInputs
    outcomes: list[Outcome]
    files: list[Tally]
    personal: list[Part]
    counts: dict[str, int]
    lengths: dict[str, int] = field(default_factory=dict)
    """Documents by length in characters."""
    languages: dict[str, int] = field(default_factory=dict)

    def of(self, status: str) -> list[Outcome]:
        """The outcomes of one status."""
        return [one for one in self.outcomes if one.status == status]

    @property
    def tally(self) -> Counter[str]:
        """How many checks came to what."""
        return Counter(one.status for one in self.outcomes)

    @property
    def verdict(self) -> str:
        """`failed`, `warned`, `passed`, or `not run` where no check could say anything."""
        return next((status for status in ("failed", "warned", "passed") if self.tally[status]), "not run")

    @property
    def subject(self) -> str:
        """What was examined."""
        corpus = f"corpus {self.asked.corpus.id[:8]}" if self.asked.corpus else ""
        return " and ".join(filter(None, [corpus, "logs" if self.asked.events else ""]))

    @property
    def sentence(self) -> str:
        """The whole in a sentence."""
        tally = self.tally
        failed = counted(tally["failed"], "check") + " failed" if tally["failed"] else "no check failed"
        rest = f"; {tally['not run']:,} had nothing to check" if tally["not run"] else ""
        proposed = counted(tally["proposed"], "proposal")
        waiting = f"; {proposed} waiting for review and not counted" if tally["proposed"] else ""
        subject = f"{self.subject[0].upper()}{self.subject[1:]}"
        return f"{subject}: {failed}, {tally['warned']:,} warned, {tally['passed']:,} passed{rest}{waiting}."

    @property
    def facts(self) -> dict[str, Any]:
        """What the report's manifest keeps."""
        return {
            "outcome": self.verdict, "sentence": self.sentence, "suite": self.asked.suite.name,
            **{status.replace(" ", "_"): self.tally[status] for status in STATUSES},
            "failures": [one.sentence for one in self.of("failed")[:NAMED]],
            "warnings": [one.sentence for one in self.of("warned")],
        }  # fmt: skip

    def record(self) -> dict[str, Any]:
        """Everything, for machines: `checks.json`."""
        asked = self.asked
        checks = [
            {
                "table": one.placed.table, **one.check.model_dump(), "place": one.placed.place, "status": one.status,
                "rows": one.rows, "unexpected": one.unexpected, "found": one.found, "examples": one.examples,
                "why_not": one.why_not,
            }
            for one in self.outcomes
        ]  # fmt: skip
        return {
            "verdict": self.verdict, "sentence": self.sentence, "corpus": asked.corpus.id if asked.corpus else "",
            "previous": asked.previous.id if asked.previous else "", "on": asked.on.isoformat(), "suite": asked.suite.name,
            "suite_digest": asked.suite.digest, "checks": checks, "counts": self.counts, "lengths": self.lengths,
            "languages": self.languages, "files": [asdict(one) for one in self.files],
            "personal": [{**asdict(one), "sure": one.sure} for one in self.personal],
        }  # fmt: skip


def examine(asked: CheckInputs) -> Examination:
    """Load, measure, scan and check; memory stays flat, since all rows are in a scratch file.

    Raises:
        InputError: a check of the suite can't be evaluated.
    """
    check_suite(asked.suite)  # before anything takes long
    with tempfile.TemporaryDirectory(prefix="ratchet-check-") as folder:
        staged = stage(Path(folder) / "staging.db", asked.on, asked.corpus, asked.previous)
        if asked.events:
            load_events(staged, asked.events, asked.sizes)
        personal = scan(staged, asked.personal)
        examination = Examination(
            asked, [], staged.files, personal, counts_of(staged), lengths_of(staged.db), languages(staged)
        )
        staged.close()
        examination.outcomes = evaluate(staged.path, asked.suite, _absent(asked))
    return examination


def chosen_corpora(store: Store, corpus: str, previous: str) -> tuple[Artifact | None, Artifact | None]:
    """The corpus that is examined, and the one before it.

    Args:
        store: where they are.
        corpus: an id, `champion` for that of the release that serves, or `none`.
        previous: an id, `none`, or empty for that of the latest release that served another corpus.

    Raises:
        InputError: there is no such corpus, or no champion.
    """
    if corpus == "none":
        return None, None
    journal = Journal(store)
    chosen = load(store, "corpus", resolve(journal, "champion").inputs["corpus"] if corpus == "champion" else corpus)
    if previous:
        return chosen, None if previous == "none" else load(store, "corpus", previous)
    releases = [find(store, "release", one) for one in reversed(journal.champions())]
    served = list(dict.fromkeys(release.inputs["corpus"] for release in releases if release))
    others = (find(store, "corpus", one) for one in served if one != chosen.id)
    return chosen, next((one for one in others if one), None)


def stage(path: Path, on: date, corpus: Artifact | None, previous: Artifact | None = None) -> Staged:
    """A staging file with a corpus in it, related and with its languages told."""
    staged = Staged(path, on)
    if corpus:
        load_corpus(staged, corpus, previous)
        tell_languages(staged)
    return staged


def _absent(asked: CheckInputs) -> dict[str, str]:
    absent = {} if asked.corpus else dict.fromkeys(OF_CORPUS, "no corpus was given")
    if not asked.events:
        absent |= dict.fromkeys(OF_EVENTS, "no logs were given")
    return absent if asked.personal else absent | {"personal": "nothing was scanned"}


def counts_of(staged: Staged) -> dict[str, int]:
    """Rows by table, of those that have any."""
    staged.flush()
    counts = {table: staged.one(f"SELECT count(*) FROM {table}") for table in (*COUNTED, *OF_EVENTS)}  # noqa: S608  # our own
    return {table: count for table, count in counts.items() if count}


def lengths_of(db: sqlite3.Connection) -> dict[str, int]:
    """Documents by length in characters, in groups."""
    ends = pairwise(LENGTHS)
    names = ["none" if low == 0 else f"{low:,}–{high - 1:,}" for low, high in ends] + [f"{LENGTHS[-1]:,} and more"]
    groups = " ".join(f"WHEN characters < {high} THEN {number}" for number, high in enumerate(LENGTHS[1:]))
    found = dict(db.execute(f"SELECT CASE {groups} ELSE {len(LENGTHS) - 1} END, count(*) FROM documents GROUP BY 1"))  # noqa: S608
    return {names[number]: found.get(number, 0) for number in range(min(found), max(found) + 1)} if found else {}
