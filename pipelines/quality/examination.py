"""The examination of a corpus and of exposure logs: staged, profiled, scanned for personal data, checked by a suite."""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.quality.expectations import CheckOutcome, check_suite, evaluate
from pipelines.quality.language import detect_languages, language_counts
from pipelines.quality.loading import COUNTED, load_corpus, load_events
from pipelines.quality.personal import PersonalDataCount, scan
from pipelines.quality.staging import FileTally, StagingFile
from pipelines.quality.suite import Suite
from pipelines.store.artifacts import Artifact, find, load
from pipelines.store.journal import Journal
from pipelines.store.objects import Store
from pipelines.store.releases import resolve
from pipelines.wording import counted

CORPUS_TABLES = ("documents", "queries", "qrels", "interactions", "users", "user_fields", "corpus")
EVENT_TABLES = ("exposures", "shown", "clicks")
LENGTHS = (0, 1, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Lower bounds of the length bins of a report, in characters."""
NAMED_FAILURES = 5
STATUSES = ("passed", "warned", "failed", "not run", "proposed")


@dataclass(frozen=True)
class CheckInputs:
    """What is examined: a corpus, logs, or both."""

    corpus: Artifact | None
    previous: Artifact | None
    events: Path | None
    sizes: Mapping[str, int]
    """Bytes that are read of each log."""
    suite: Suite
    on: date
    """The day at whose end ages are 0."""
    personal: int
    """Texts of each part, at most, that are scanned for personal data; 0: none."""


@dataclass
class Examination:
    """The result of an examination."""

    inputs: CheckInputs
    outcomes: list[CheckOutcome]
    files: list[FileTally]
    personal: list[PersonalDataCount]
    counts: dict[str, int]
    lengths: dict[str, int] = field(default_factory=dict)
    """Number of documents by length bin."""
    languages: dict[str, int] = field(default_factory=dict)

    def of(self, status: str) -> list[CheckOutcome]:
        """The outcomes of one status."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def tally(self) -> Counter[str]:
        """How many checks have which status."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def verdict(self) -> str:
        """`failed`, `warned`, `passed`, or `not run` where no check was applicable."""
        return next((status for status in ("failed", "warned", "passed") if self.tally[status]), "not run")

    @property
    def subject(self) -> str:
        """What was examined."""
        corpus = f"corpus {self.inputs.corpus.id[:8]}" if self.inputs.corpus else ""
        return " and ".join(filter(None, [corpus, "logs" if self.inputs.events else ""]))

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        tally = self.tally
        failed = counted(tally["failed"], "check") + " failed" if tally["failed"] else "no check failed"
        rest = f"; {tally['not run']:,} had nothing to check" if tally["not run"] else ""
        proposed = counted(tally["proposed"], "proposal")
        waiting = f"; {proposed} waiting for review and not counted" if tally["proposed"] else ""
        subject = f"{self.subject[0].upper()}{self.subject[1:]}"
        return f"{subject}: {failed}, {tally['warned']:,} warned, {tally['passed']:,} passed{rest}{waiting}."

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the report's manifest."""
        return {
            "outcome": self.verdict,
            "sentence": self.sentence,
            "suite": self.inputs.suite.name,
            **{status.replace(" ", "_"): self.tally[status] for status in STATUSES},
            "failures": [outcome.sentence for outcome in self.of("failed")[:NAMED_FAILURES]],
            "warnings": [outcome.sentence for outcome in self.of("warned")],
        }

    def record(self) -> dict[str, Any]:
        """The content of `checks.json`."""
        inputs = self.inputs
        checks = [
            {
                "table": outcome.placed.table,
                **outcome.check.model_dump(),
                "place": outcome.placed.place,
                "status": outcome.status,
                "rows": outcome.rows,
                "unexpected": outcome.unexpected,
                "found": outcome.found,
                "examples": outcome.examples,
                "why_not": outcome.why_not,
            }
            for outcome in self.outcomes
        ]
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "corpus": inputs.corpus.id if inputs.corpus else "",
            "previous": inputs.previous.id if inputs.previous else "",
            "on": inputs.on.isoformat(),
            "suite": inputs.suite.name,
            "suite_digest": inputs.suite.digest,
            "checks": checks,
            "counts": self.counts,
            "lengths": self.lengths,
            "languages": self.languages,
            "files": [asdict(file) for file in self.files],
            "personal": [{**asdict(count), "sure": count.sure} for count in self.personal],
        }


def examine(inputs: CheckInputs) -> Examination:
    """Load, profile, scan and check. The rows are in a temporary SQLite file, so memory does not grow with them.

    Raises:
        InputError: a check of the suite can't be evaluated.
    """
    check_suite(inputs.suite)  # before anything that takes long
    with tempfile.TemporaryDirectory(prefix="ratchet-check-") as folder:
        staged = stage(Path(folder) / "staging.db", inputs.on, inputs.corpus, inputs.previous)
        if inputs.events:
            load_events(staged, inputs.events, inputs.sizes)
        personal = scan(staged, inputs.personal)
        examination = Examination(
            inputs, [], staged.files, personal, counts_of(staged), lengths_of(staged.db), language_counts(staged)
        )
        staged.close()
        examination.outcomes = evaluate(staged.path, inputs.suite, _tables_not_loaded(inputs))
    return examination


def chosen_corpora(store: Store, corpus: str, previous: str) -> tuple[Artifact | None, Artifact | None]:
    """The corpus to examine, and the one that its volume is compared with.

    Args:
        store: of both.
        corpus: an id, `champion` for the corpus of the release that serves, or `none`.
        previous: an id, `none`, or empty for the corpus of the latest release that served another corpus.

    Raises:
        InputError: there is no such corpus, or no champion.
    """
    if corpus == "none":
        return None, None
    journal = Journal(store)
    examined = load(store, "corpus", resolve(journal, "champion").inputs["corpus"] if corpus == "champion" else corpus)
    if previous:
        return examined, None if previous == "none" else load(store, "corpus", previous)
    releases = [find(store, "release", release_id) for release_id in reversed(journal.champions())]
    served = list(dict.fromkeys(release.inputs["corpus"] for release in releases if release))
    others = (find(store, "corpus", corpus_id) for corpus_id in served if corpus_id != examined.id)
    return examined, next((other for other in others if other), None)


def stage(path: Path, on: date, corpus: Artifact | None, previous: Artifact | None = None) -> StagingFile:
    """A staging file with a corpus: its references resolved, its languages detected."""
    staged = StagingFile(path, on)
    if corpus:
        load_corpus(staged, corpus, previous)
        detect_languages(staged)
    return staged


def _tables_not_loaded(inputs: CheckInputs) -> dict[str, str]:
    absent = {} if inputs.corpus else dict.fromkeys(CORPUS_TABLES, "no corpus was given")
    if not inputs.events:
        absent |= dict.fromkeys(EVENT_TABLES, "no logs were given")
    return absent if inputs.personal else absent | {"personal": "nothing was scanned"}


def counts_of(staged: StagingFile) -> dict[str, int]:
    """Number of rows by table, without empty ones."""
    staged.flush()
    counts = {table: staged.scalar(f"SELECT count(*) FROM {table}") for table in (*COUNTED, *EVENT_TABLES)}  # noqa: S608
    return {table: count for table, count in counts.items() if count}


def lengths_of(db: sqlite3.Connection) -> dict[str, int]:
    """Number of documents by length bin, from the first to the last bin that has any."""
    names = ["none" if low == 0 else f"{low:,}–{high - 1:,}" for low, high in pairwise(LENGTHS)] + [f"{LENGTHS[-1]:,} and more"]
    bins = " ".join(f"WHEN characters < {high} THEN {number}" for number, high in enumerate(LENGTHS[1:]))
    counts = dict(db.execute(f"SELECT CASE {bins} ELSE {len(LENGTHS) - 1} END, count(*) FROM documents GROUP BY 1"))  # noqa: S608
    return {names[number]: counts.get(number, 0) for number in range(min(counts), max(counts) + 1)} if counts else {}
