"""compare: two releases side by side: parts, measures, and the first queries that they answer differently."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, committed, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import resolve

if TYPE_CHECKING:
    from pipelines.evaluation.record import Evaluation

VERSION = 1


class CompareParams(Params):
    a: str = Field(description="Release id, its first digits, or: champion, challenger")
    b: str = Field(description="The other release")
    shown: int = Field(10, ge=0, le=200, description="Queries to show that the two answer differently")


class CompareResult(Result):
    report: str
    a: str
    b: str
    parts: list[str]
    """Each part that differs: its name and both ids."""
    measures: list[str]
    """Each measure of both, with the difference b − a; empty: no queries were asked of both."""
    queries: list[str]
    """The first queries, by their ids, whose first results differ."""
    sentence: str


def compare(params: CompareParams) -> CompareResult:
    """Show which parts of two releases differ, their measures on the same queries, and queries that they answer differently."""
    journal = Journal(open_store())
    a, b = resolve(journal, params.a), resolve(journal, params.b)
    pair = _evaluations(journal.store, a.id, b.id)
    inputs = {"a": a.id, "b": b.id} | ({"evaluation_a": pair[0].id, "evaluation_b": pair[1].id} if pair else {})
    recipe = Recipe(kind="report", step="compare", version=VERSION, inputs=inputs, params={"shown": params.shown})
    report = produce(journal.store, recipe, lambda folder: _compare(a, b, pair, params.shown, folder))
    log().info(report.facts["sentence"], report=report.id)
    told = {name: report.facts[name] for name in ("parts", "measures", "queries", "sentence")}
    return CompareResult(report=report.id, a=a.id, b=b.id, **told)


def _evaluations(store: Store, a: str, b: str) -> "tuple[Evaluation, Evaluation] | None":
    """The newest evaluations of both on the same judged queries."""
    from pipelines.errors import InputError
    from pipelines.evaluation.comparison import check_comparable

    of_a, of_b = _of_release(store, a), _of_release(store, b)
    for first in of_a:
        for second in of_b:
            try:
                check_comparable(second, first)
            except InputError:
                continue
            return first, second
    return None


def _of_release(store: Store, release: str) -> "list[Evaluation]":
    """The evaluations of a release, the newest first."""
    from pipelines.evaluation.record import Evaluation

    every = (load_exactly(store, "evaluation", name) for name in committed(store, "evaluation"))
    whole = [one for one in every if one.inputs["release"] == release and "measures.json" in one.manifest.files]
    whole.sort(key=lambda one: (str(one.manifest.provenance["at"]), one.id), reverse=True)
    return [Evaluation(one) for one in whole]


def _compare(
    a: Artifact, b: Artifact, pair: "tuple[Evaluation, Evaluation] | None", shown: int, folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation.comparison import measure_table, query_differences
    from pipelines.reports.comparison import write_comparison_report

    names = sorted(a.inputs.keys() | b.inputs.keys())
    parts = [
        (name, a.inputs.get(name, ""), b.inputs.get(name, "")) for name in names if a.inputs.get(name) != b.inputs.get(name)
    ]
    measures = measure_table(pair[1], pair[0], 0.95) if pair else []
    rows = sorted(query_differences(pair[1], pair[0], "nDCG@10"), key=lambda row: str(row["query"])) if pair else []
    differing = [row for row in rows if _first(row["champion_top"]) != _first(row["challenger_top"])]
    return write_comparison_report(folder, (a.id, b.id), parts, measures, differing[:shown], (len(differing), len(rows)))


def _first(top: list[dict[str, Any]]) -> list[str]:
    return [document["id"] for document in top]
