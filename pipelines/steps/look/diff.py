"""diff: documents, queries and judgments that were added, changed and deleted between two corpora."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.corpus.difference import Difference

VERSION = 1
WIDTH = 100


class DiffParams(Params):
    a: str = Field(description="Corpus id, or its first digits: the corpus before")
    b: str = Field(description="Corpus id, or its first digits: the corpus after")
    shown: int = Field(20, ge=0, le=1000, description="Rows of each kind to list here; the report's diff.jsonl has all")


class DiffResult(Result):
    report: str
    a: str
    b: str
    documents_added: int
    documents_changed: int
    """The text differs."""
    documents_relabelled: int
    """The text is the same; title, segment or picture differ."""
    documents_deleted: int
    documents_equal: int
    queries_added: int
    queries_changed: int
    queries_deleted: int
    queries_equal: int
    judgments_added: int
    judgments_changed: int
    judgments_deleted: int
    judgments_equal: int
    interactions_added: int
    interactions_changed: int
    interactions_deleted: int
    interactions_equal: int
    users_added: int
    users_changed: int
    users_deleted: int
    users_equal: int
    added: list[str]
    """The first of each kind: `document d17`, `query q3`, `judgment q3 d17`."""
    changed: list[str]
    relabelled: list[str]
    deleted: list[str]
    found: bool


def diff(params: DiffParams) -> DiffResult:
    """List what was added, changed and deleted from one corpus to another: documents, queries, judgments, interactions."""
    from pipelines.corpus.difference import CHANGES, first_of_each
    from pipelines.reports.difference import sentence, show

    store = open_store()
    a, b = load(store, "corpus", params.a), load(store, "corpus", params.b)
    recipe = Recipe(kind="report", step="diff", version=VERSION, inputs={"a": a.id, "b": b.id}, params={})
    report = produce(store, recipe, lambda folder: _compare(a, b, folder))
    first = first_of_each(report.path("diff.jsonl"), params.shown, WIDTH)
    show(report.facts, first)
    same = "; both ids name one corpus" if a.id == b.id else ""
    log().info(f"{a.id[:8]} to {b.id[:8]}: {sentence(report.facts)}{same}", report=report.id)
    return DiffResult(
        report=report.id,
        a=a.id,
        b=b.id,
        found=report.found,
        **_counts(report.facts),
        **{change: _listed(first, change) for change in CHANGES},
    )


def _compare(a: Artifact, b: Artifact, folder: Path) -> dict[str, Any]:
    import tempfile

    from pipelines.corpus.difference import write_differences
    from pipelines.reports.difference import write_difference_report

    with tempfile.TemporaryDirectory(prefix="ratchet-diff-") as scratch:
        counts = write_differences(a, b, folder, Path(scratch))
    write_difference_report(folder, a.id, b.id, counts)
    return dict(counts)


def _counts(facts: dict[str, dict[str, int]]) -> dict[str, int]:
    counts = {f"{noun}_{change}": count for noun, row in facts.items() for change, count in row.items()}
    return {name: count for name, count in counts.items() if name in DiffResult.model_fields}


def _listed(first: "dict[tuple[str, str], list[Difference]]", change: str) -> list[str]:
    return [f"{row.kind} {row.id}" for (_, kind_of_change), rows in first.items() if kind_of_change == change for row in rows]
