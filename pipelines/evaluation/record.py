"""An evaluation's files: what `evaluate` writes, and what a gate reads again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.corpus.documents import Document, documents
from pipelines.evaluation.measures import CONDENSED, MEASURES, PerQuery
from pipelines.evaluation.qrels import EvaluatedSplit, Topics, trec_qrels
from pipelines.retrieval.run import Run, write_run
from pipelines.statistics.intervals import interval
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.stored_words import BASELINES

SHOWN = 5
"""Results of a query that its row keeps with their titles."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as it was recorded."""

    artifact: Artifact

    @property
    def id(self) -> str:
        return self.artifact.id

    @property
    def release(self) -> str:
        return self.artifact.inputs["release"]

    @property
    def split(self) -> EvaluatedSplit:
        """Which queries of the corpus were asked."""
        split: EvaluatedSplit = self.summary["split"]
        return split

    @property
    def asked(self) -> dict[str, Any]:
        """Which queries were asked: split, the corpus they are from, and the digest that names them."""
        return {key: self.summary[key] for key in ("split", "corpus", "queries_digest")}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`measures.json`: means with intervals, counts, settings."""
        found: dict[str, Any] = self.artifact.json("measures.json")
        return found

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """`per_query.jsonl`: one row for each judged query, in the order of query ids."""
        with self.artifact.path("per_query.jsonl").open(encoding="utf-8") as file:  # splitlines would split at U+2028
            return [json.loads(line) for line in file]

    def documents(self) -> dict[str, Document]:
        """The release's documents by id."""
        release = load_exactly(self.artifact.store, "release", self.release)
        corpus = load_exactly(self.artifact.store, "corpus", release.inputs["corpus"])
        return {document.id: document for document in documents(corpus)}

    def values(self, measure: str) -> list[float]:
        """The measure of each query, in the order of query ids."""
        return [row["release"][measure] for row in self.rows]


def baseline_names(summary: Mapping[str, Any]) -> list[str]:
    """The names of the baselines that ranked the same queries; the key `difference` is the release minus the first of them.

    The figures of a baseline are under its name in lower case, and its run is in the file of that name with `.trec`.

    >>> baseline_names({BASELINES: ["popularity", "BM25"]}), baseline_names({})
    (['popularity', 'BM25'], ['BM25'])
    """
    return list(summary.get(BASELINES, ["BM25"]))


def summary_of(topics: Topics, scores: Mapping[str, PerQuery], confidence: float) -> dict[str, Any]:
    """Means with intervals of each side and of the paired difference between the first two, and the counts of queries.

    Args:
        topics: what was asked.
        scores: by side: `release` first, then the baselines by their names.
        confidence: of the intervals.
    """
    ids = [query.id for query in topics.queries]

    def row(measure: str) -> dict[str, Any]:
        values = {side: [found[one][measure] for one in ids] for side, found in scores.items()}
        ours, theirs = list(values.values())[:2]
        difference = [a - b for a, b in zip(ours, theirs, strict=True)]
        means = {side.lower(): asdict(interval(one, confidence, least=0)) for side, one in values.items()}
        return means | {"difference": asdict(interval(difference, confidence))}

    return {
        BASELINES: list(scores)[1:],
        "queries": len(ids),
        "queries_digest": topics.digest,
        "split": topics.split,
        "unjudged": topics.unjudged,
        "synthetic": topics.synthetic,
        "no_relevant": {"queries": topics.no_relevant, "rule": topics.rule},
        "confidence": confidence,
        "measures": {measure: row(measure) for measure in (*MEASURES, CONDENSED)},
    }


def rows_of(
    topics: Topics, run: Run, scores: Mapping[str, PerQuery], documents: Mapping[str, Document]
) -> list[dict[str, Any]]:
    """One row for each query: its measures by side, the release's first results and the relevant documents."""
    return [
        {
            "query": query.id,
            "text": query.text,
            **{side.lower(): found[query.id] for side, found in scores.items()},
            "top": [_shown(one, topics.qrels[query.id].get(one), documents) for one, _ in run[query.id][:SHOWN]],
            "relevant": [
                _shown(one, grade, documents)
                for one, grade in sorted(topics.qrels[query.id].items(), key=lambda pair: (-pair[1], pair[0]))
                if grade > 0
            ],
        }
        for query in topics.queries
    ]


def _shown(document: str, grade: int | None, documents: Mapping[str, Document]) -> dict[str, Any]:
    """A document as reports list it; grade None: unjudged. A judged document may be missing from the release's corpus."""
    known = documents.get(document)
    title = (known.title or known.text[:80]) if known else ""
    return {"id": document, "title": title, "segment": known.segment if known else "", "grade": grade}


def write_evaluation(folder: Path, topics: Topics, runs: Mapping[str, Run], summary: Any, rows: list[dict[str, Any]]) -> None:
    """Write the runs by their side (`release` as run.trec), the qrels, the rows and the summary."""
    for side, run in runs.items():
        write_run(folder / ("run.trec" if side == "release" else f"{side.lower()}.trec"), run, side.lower())
    (folder / "qrels.txt").write_text(trec_qrels(topics.qrels), encoding="utf-8")
    with (folder / "per_query.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    (folder / "measures.json").write_text(json.dumps(summary, indent=1, sort_keys=True), encoding="utf-8")
