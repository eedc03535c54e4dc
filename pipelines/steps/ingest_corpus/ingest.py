"""ingest: a collection, in any format and from any place, becomes a corpus artifact."""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.erasures import Erasures
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file

if TYPE_CHECKING:
    from pipelines.collections import Collection, IngestOptions

VERSION = 2


class IngestParams(Params):
    source: str = Field("", description="File or folder, local or s3://bucket/key, in any format; empty: the icons")
    queries: str = Field("", description="File of queries, where --source has none")
    qrels: str = Field("", description="File of judgments, where --source has none; a judged pool, too")
    column: list[str] = Field([], description="FIELD=COLUMN where the guess is wrong: id=sku, text=name, qrels.grade=label")
    grades: str = Field("", description="Grades from worst to best: 0..3, 3..0 or Irrelevant,Partial,Exact; empty: as seen")
    grades_checked: bool = Field(True, description="Stop where BM25 ranks documents of worse grades better")
    held_out: bool = Field(False, description="All queries are test queries: no encoder learns from any")
    max_bad_fraction: float = Field(0.01, ge=0, le=1, description="Part of the rows that may be bad; above it ingest stops")
    max_text: int = Field(1_000_000, ge=1, description="Characters that a text may have")
    known_items: int = Field(200, ge=0, le=100_000, description="Synthetic queries to make where there are none")
    cutoff: float = Field(0.9, gt=0, lt=1, description="Of interactions: the part before the moment that is asked about")
    history: int = Field(50, ge=1, le=1000, description="Of interactions: the latest documents of a user that a query has")
    min_value: float | None = Field(None, description="Of interactions: a lower value was no choice; empty: all were")
    mask: bool = Field(
        False, description="Replace personal data in texts, such as e-mail addresses, by its kind, and in ids by a hash"
    )
    inspect: str = Field("", description="Show how a file or folder would be read, and do nothing")
    folder: str = Field("", description="Of the icons: folder that holds metadata/; empty: the installed package")
    text: Literal["label", "label+category"] = Field("label", description="Of the icons: what is encoded and searched")


class IngestResult(Result):
    corpus: str
    """Empty if the files were only inspected."""
    report: str
    """The report on the schema, the counts and the bad rows; empty for the icons."""
    documents: int
    queries: int
    judgments: int
    bad_rows: int
    found: bool


def ingest(params: IngestParams) -> IngestResult:
    """Read a collection, check it and store it as a corpus; rows that can't be used go to the report's quarantine."""
    with TemporaryDirectory(prefix="ratchet-ingest-") as scratch, TemporaryDirectory(prefix="ratchet-corpus-") as target:
        if params.inspect:
            return _inspect(params, Path(scratch))
        return _from_files(params, Path(scratch), Path(target)) if params.source else _from_icons(params, Path(target))


def _options(params: IngestParams) -> "IngestOptions":
    from pipelines.collections import IngestOptions

    options = params.model_dump(exclude={"inspect", "mask", "folder", "text"})
    return IngestOptions(**{**options, "column": tuple(params.column), "source": params.inspect or params.source})


def _inspect(params: IngestParams, scratch: Path) -> IngestResult:
    from pipelines.collections import describe_layout, read_layout

    print(describe_layout(*read_layout(_options(params), scratch)), file=sys.stderr)
    return IngestResult(corpus="", report="", documents=0, queries=0, judgments=0, bad_rows=0, found=False)


def _from_files(params: IngestParams, scratch: Path, target: Path) -> IngestResult:
    from pipelines.collections import stage, write_corpus
    from pipelines.quality.personal import Masker, is_phone

    masker = Masker() if params.mask else None
    collection = stage(_options(params), scratch, masker, is_phone)
    collection.masked |= masker.counts + Counter(PHONE_NUMBER=collection.staging.hashed) if masker else {}
    for note in collection.notes:
        log().info("note", text=note)
    report = _report(collection, scratch)
    if problem := collection.problem:
        raise InputError(problem.given, problem.expected, f"{problem.next_action}; report {report.id} has all")
    write_corpus(collection.staging, target)
    corpus = _commit(target, collection.facts)
    counts = {name: corpus.facts[name] for name in ("documents", "queries", "judgments")}
    bad_rows = collection.facts["bad_rows"]
    return IngestResult(corpus=corpus.id, report=report.id, found=corpus.found, bad_rows=bad_rows, **counts)


def _from_icons(params: IngestParams, target: Path) -> IngestResult:
    from pipelines.corpus.icons import write_icons

    counts = write_icons(Path(params.folder) if params.folder else None, params.text, target)
    corpus = _commit(target, {**counts, "layout": "icons", "text": params.text, "folder": params.folder})
    counts = {name: corpus.facts[name] for name in counts}
    return IngestResult(corpus=corpus.id, report="", bad_rows=0, found=corpus.found, **counts)


def _without_erased(written: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a corpus who or what was erased, and is still in the source; the facts of what is left."""
    from pipelines.corpus.erased import leave_out

    erasures = Erasures(Journal(open_store()))
    rows, counts = leave_out(written, erasures.erased) if erasures.subjects else (0, {})
    if rows:
        log().warning("rows of erased users or documents are left out: the source still has them", rows=rows)
    return {**facts, **{name: count for name, count in counts.items() if name in facts}}


def _commit(written: Path, facts: dict[str, Any], kind: Literal["corpus", "report"] = "corpus") -> Artifact:
    facts = _without_erased(written, facts) if kind == "corpus" else facts
    inputs = {path.name: digest_file(path) for path in sorted(written.iterdir())}

    def build(folder: Path) -> dict[str, Any]:
        for name in inputs:
            (written / name).rename(folder / name)
        return facts

    return produce(open_store(), Recipe(kind=kind, step="ingest", version=VERSION, inputs=inputs, params={}), build)


def _report(collection: "Collection", scratch: Path) -> Artifact:
    """Store the report and the quarantine, also where no corpus is made."""
    from pipelines.reports.ingest import write_ingest_report

    folder = scratch / "report"
    folder.mkdir()
    (scratch / "quarantine.csv").rename(folder / "quarantine.csv")
    write_ingest_report(folder, collection)
    return _commit(folder, {"about": "ingest", "source": collection.options.source}, "report")
