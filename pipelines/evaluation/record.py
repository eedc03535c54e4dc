"""The files of an evaluation: written by `evaluate`, read again by gates and reports."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.corpus.documents import Document, documents
from pipelines.errors import InputError
from pipelines.evaluation.measurement import Measurement
from pipelines.evaluation.measures import CONDENSED, MEASURES, PerQuery, measured
from pipelines.evaluation.qrels import RELEVANT, EvaluatedSplit, Topics, trec_qrels
from pipelines.retrieval.run import Run, read_run, write_run
from pipelines.statistics.intervals import interval
from pipelines.store.artifacts import load_exactly
from pipelines.store.stored_words import BASELINES

TOP = 5
"""First results of a query that its row keeps with their titles."""


@dataclass(frozen=True)
class Evaluation(Measurement):
    """A stored evaluation."""

    SUMMARY = "measures.json"
    """Means with intervals, counts, settings."""

    @property
    def split(self) -> EvaluatedSplit:
        """The split of the evaluated queries."""
        split: EvaluatedSplit = self.summary["split"]
        return split

    @property
    def query_set(self) -> dict[str, Any]:
        """What names the evaluated queries: `split`, `corpus` and `queries_digest`, as a verdict repeats them."""
        return {key: self.summary[key] for key in ("split", "corpus", "queries_digest")}

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """`per_query.jsonl`: a row for each judged query, in the order of query ids."""
        with self.artifact.path("per_query.jsonl").open(encoding="utf-8") as file:  # splitlines would split at U+2028
            return [json.loads(line) for line in file]

    def unjudged(self, side: str = "release", depth: int = 10) -> float:
        """The share of the first documents that nobody judged, though the evaluated corpus has them: the mean over queries.

        It is 1 − Judged@10, but for documents that are gone: those of a release of an earlier corpus can't be judged any more.

        Args:
            side: `release`, or the name of a baseline.
            depth: how many first documents.
        """
        corpus = load_exactly(self.artifact.store, "corpus", self.artifact.inputs["corpus"])
        there = {document.id for document in documents(corpus)}
        run = self.run("run.trec" if side == "release" else f"{side.lower()}.trec")
        counts = (
            sum(document in there and document not in grades for document, _ in run.get(query, [])[:depth])
            for query, grades in self.judgments.items()
        )
        return sum(counts) / (depth * max(1, len(self.rows)))

    @cached_property
    def graded(self) -> bool:
        """Whether any document was judged not relevant, so that what nobody judged can be told from what is not relevant."""
        return any(grade < RELEVANT for grades in self.judgments.values() for grade in grades.values())

    def documents(self) -> dict[str, Document]:
        """The release's documents by id."""
        release = load_exactly(self.artifact.store, "release", self.release)
        corpus = load_exactly(self.artifact.store, "corpus", release.inputs["corpus"])
        return {document.id: document for document in documents(corpus)}

    def values(self, measure: str, side: str = "release") -> list[float]:
        """The measure of each query, in the order of query ids.

        Args:
            measure: one of MEASURES, or any other of ir_measures, which is computed from the stored run and judgments.
            side: `release`, or the name of a baseline.

        Raises:
            InputError: a value is no number from 0 to 1.
        """
        values = [row[side.lower()].get(measure) for row in self.rows]
        if None in values:
            by_query = self._measured(measure, "run.trec" if side == "release" else f"{side.lower()}.trec")
            values = [by_query[row["query"]] for row in self.rows]
        for row, value in zip(self.rows, values, strict=True):
            if not 0 <= value <= 1 + 1e-9:  # also where it is not a number
                given = f"evaluation {self.id} with {measure} {value} for query {row['query']}"
                raise InputError(given, "numbers from 0 to 1", "run evaluate again")
        return values

    def _measured(self, measure: str, run: str) -> dict[str, float]:
        return measured(measure, self.judgments, self.run(run))

    def run(self, name: str = "run.trec") -> Run:
        """The stored run of the release, or of a baseline by its name in lower case with `.trec`."""
        return read_run(self.artifact.path(name))

    @cached_property
    def judgments(self) -> dict[str, dict[str, int]]:
        """The grade by query id and document id."""
        judgments: dict[str, dict[str, int]] = {row["query"]: {} for row in self.rows}
        with self.artifact.path("qrels.txt").open(encoding="utf-8") as file:
            for query, _, document, grade in (line.split() for line in file):
                judgments[query][document] = int(grade)
        return judgments


def baseline_names(summary: Mapping[str, Any]) -> list[str]:
    """The names of the baselines that ranked the same queries; the key `difference` is the release minus the first of them.

    The figures of a baseline are under its name in lower case, and its run is in the file of that name with `.trec`.

    >>> baseline_names({BASELINES: ["popularity", "BM25"]}), baseline_names({})
    (['popularity', 'BM25'], ['BM25'])
    """
    return list(summary.get(BASELINES, ["BM25"]))


def summary_of(topics: Topics, scores: Mapping[str, PerQuery], confidence: float) -> dict[str, Any]:
    """The content of `measures.json`: means with intervals of each side, and of release − first baseline; counts of queries.

    Args:
        topics: the judged queries.
        scores: by side: `release` first, then the baselines by their names.
        confidence: of the intervals.
    """
    ids = [query.id for query in topics.queries]

    def row(measure: str) -> dict[str, Any]:
        values = {side: [per_query[query_id][measure] for query_id in ids] for side, per_query in scores.items()}
        release, baseline = list(values.values())[:2]
        difference = [a - b for a, b in zip(release, baseline, strict=True)]
        means = {side.lower(): asdict(interval(of_side, confidence, least=0)) for side, of_side in values.items()}
        return means | {"difference": asdict(interval(difference, confidence))}

    return {
        BASELINES: list(scores)[1:],
        "queries": len(ids),
        "queries_digest": topics.digest,
        "split": topics.split,
        "unjudged": topics.unjudged,
        "of_other_split": topics.of_other_split,
        "synthetic": topics.synthetic,
        "no_relevant": {"queries": topics.no_relevant, "rule": topics.rule},
        "confidence": confidence,
        "measures": {measure: row(measure) for measure in (*MEASURES, CONDENSED)},
    }


def rows_of(
    topics: Topics, run: Run, scores: Mapping[str, PerQuery], documents: Mapping[str, Document]
) -> list[dict[str, Any]]:
    """The rows of `per_query.jsonl`: a query's measures by side, the release's first results and the relevant documents."""
    return [
        {
            "query": query.id,
            "text": query.text,
            **{side.lower(): per_query[query.id] for side, per_query in scores.items()},
            "top": [_row_document(name, topics.qrels[query.id].get(name), documents) for name, _ in run[query.id][:TOP]],
            "relevant": [
                _row_document(name, grade, documents)
                for name, grade in sorted(topics.qrels[query.id].items(), key=lambda pair: (-pair[1], pair[0]))
                if grade > 0
            ],
        }
        for query in topics.queries
    ]


def _row_document(document_id: str, grade: int | None, documents: Mapping[str, Document]) -> dict[str, Any]:
    """A document of a row; grade None: unjudged. A judged document may be missing from the release's corpus."""
    document = documents.get(document_id)
    title = (document.title or document.text[:80]) if document else ""
    return {"id": document_id, "title": title, "segment": document.segment if document else "", "grade": grade}


def write_evaluation(folder: Path, topics: Topics, runs: Mapping[str, Run], summary: Any, rows: list[dict[str, Any]]) -> None:
    """Write run.trec, a run for each baseline under its name, qrels.txt, per_query.jsonl and measures.json."""
    for side, run in runs.items():
        write_run(folder / ("run.trec" if side == "release" else f"{side.lower()}.trec"), run, side.lower())
    (folder / "qrels.txt").write_text(trec_qrels(topics.qrels), encoding="utf-8")
    with (folder / "per_query.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    (folder / "measures.json").write_text(json.dumps(summary, indent=1, sort_keys=True), encoding="utf-8")
