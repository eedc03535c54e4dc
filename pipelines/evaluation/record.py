"""An evaluation's files: what `evaluate` writes, and what a gate reads again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.artifacts import Artifact, load_exactly
from pipelines.evaluation.measures import CONDENSED, MEASURES, PerQuery
from pipelines.evaluation.qrels import AskedSplit, Topics, trec_qrels
from pipelines.evaluation.run import Run, write_run
from pipelines.evaluation.significance import interval
from pipelines.ranking.corpus import Document, documents

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
    def split(self) -> AskedSplit:
        """Which queries of the corpus were asked."""
        split: AskedSplit = self.summary["split"]
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


def summary_of(topics: Topics, release: PerQuery, bm25: PerQuery, confidence: float) -> dict[str, Any]:
    """Means with intervals of the release, of BM25 and of their paired difference, and the counts of queries."""
    ids = [query.id for query in topics.queries]

    def row(measure: str) -> dict[str, Any]:
        ours, theirs = [[side[one][measure] for one in ids] for side in (release, bm25)]
        difference = [a - b for a, b in zip(ours, theirs, strict=True)]
        return {
            "release": asdict(interval(ours, confidence, least=0)),
            "bm25": asdict(interval(theirs, confidence, least=0)),
            "difference": asdict(interval(difference, confidence)),
        }

    return {
        "queries": len(ids),
        "queries_digest": topics.digest,
        "split": topics.split,
        "unjudged": topics.unjudged,
        "no_relevant": {"queries": topics.no_relevant, "rule": topics.rule},
        "confidence": confidence,
        "measures": {measure: row(measure) for measure in (*MEASURES, CONDENSED)},
    }


def rows_of(
    topics: Topics, run: Run, release: PerQuery, bm25: PerQuery, documents: Mapping[str, Document]
) -> list[dict[str, Any]]:
    """One row for each query: its measures, its first results and its relevant documents."""
    return [
        {
            "query": query.id,
            "text": query.text,
            "release": release[query.id],
            "bm25": bm25[query.id],
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
    """Write the runs by their tag (`release` as run.trec), the qrels, the rows and the summary."""
    write_run(folder / "run.trec", runs["release"], "release")
    write_run(folder / "bm25.trec", runs["bm25"], "bm25")
    (folder / "qrels.txt").write_text(trec_qrels(topics.qrels), encoding="utf-8")
    with (folder / "per_query.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    (folder / "measures.json").write_text(json.dumps(summary, indent=1, sort_keys=True), encoding="utf-8")
