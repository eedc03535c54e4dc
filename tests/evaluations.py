"""Stored evaluations with chosen values for each query, for tests of what judges them; nothing is ranked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.contract import load_step
from pipelines.corpus.documents import Document, Query
from pipelines.evaluation.measures import CONDENSED, MEASURES
from pipelines.evaluation.qrels import Topics, trec_qrels
from pipelines.evaluation.record import Evaluation, summary_of
from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.corpora import write_corpus


def stored_evaluation(
    release: str,
    values: Sequence[float],
    bm25: Sequence[float] | float = 0.0,
    *,
    judged: float = 1.0,
    bm25_judged: float = 1.0,
    condensed: Sequence[float] | None = None,
    grade: int = 1,
    synthetic: bool = False,
    digest: str = "0" * 12,
    stages: Sequence[dict[str, Any]] = (),
    popularity: Sequence[float] | None = None,
) -> Evaluation:
    """An evaluation whose measures are `values`, one for each query, beside those of BM25, and perhaps of popularity.

    Args:
        judged: the share of the release's first ten documents that is judged; `bm25_judged`: of BM25's.
        condensed: nDCG@10 over judged documents; none: `values`.
        grade: of ten judged documents beside the relevant one; 0 means that some were judged not relevant.
    """
    count = len(values)
    others = [bm25] * count if isinstance(bm25, float) else bm25
    queries = [Query(id=f"q{number:05}", text=f"query {number}", split="test", synthetic=synthetic) for number in range(count)]
    judgments = {"d1": 1} | {f"j{number}": grade for number in range(10)}
    qrels = {query.id: judgments for query in queries}
    texts = [Document(id=name, text=name) for name in sorted([*judgments, *(f"u{number}" for number in range(10))])]
    corpus = write_corpus(texts, [], [])
    topics = Topics(queries, qrels, 0, 0, "exclude", "test")

    def of_side(numbers: Sequence[float], judged: float, condensed: Sequence[float]) -> dict[str, dict[str, float]]:
        rows = zip(queries, numbers, condensed, strict=True)
        return {q.id: dict.fromkeys(MEASURES, n) | {"Judged@10": judged, CONDENSED: c} for q, n, c in rows}

    scores = {"release": of_side(values, judged, condensed or values), "BM25": of_side(others, bm25_judged, others)}
    scores |= {"popularity": of_side(popularity, 1.0, popularity)} if popularity is not None else {}
    summary = summary_of(topics, scores, 0.95) | {
        "queries_digest": digest,
        "corpus": "c" * 20,
        "depth": 100,
        "release": release,
    }
    summary |= {"stages": list(stages)} if stages else {}

    def build(folder: Path) -> dict[str, Any]:
        rows = [
            {
                "query": q.id,
                "text": q.text,
                "top": [],
                "relevant": [],
                **{side.lower(): values[q.id] for side, values in scores.items()},
            }
            for q in queries
        ]
        (folder / "per_query.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "measures.json").write_text(json.dumps(summary))
        (folder / "qrels.txt").write_text(trec_qrels(qrels))
        for side, share in (("run", judged), ("bm25", bm25_judged)):
            names = [f"{'j' if rank < round(10 * share) else 'u'}{rank}" for rank in range(10)]
            lines = (f"{q.id} Q0 {name} {rank} {10 - rank} {side}\n" for q in queries for rank, name in enumerate(names))
            (folder / f"{side}.trec").write_text("".join(lines))
        return {"queries": count, "measures": {}}

    content = json.dumps(
        [release, summary, judged, bm25_judged, grade, [row for side in scores.values() for row in side.values()]]
    )
    recipe = Recipe(
        kind="evaluation",
        step="evaluate",
        version=load_step("evaluate").version,
        inputs={"release": release, "corpus": corpus},
        params={"content": content},
    )
    return Evaluation(produce(open_store(), recipe, build))
