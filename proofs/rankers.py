"""`make proof-rankers`: what stages are worth on real collections. Writes build/proof/rankers.json.

- Icons: the stages that dev queries choose, against today's release (dense alone), on test queries.
- Electronics (../shared/data/chorus, or ELECTRONICS=FOLDER): too few dev queries to choose, so every judged query is ranked
  with weights that were fitted on the other folds, ten times over, against BM25; also over judged documents only.
- ml-100k and the shop of the tests: next-item queries, against popularity (`proofs.recommendation`).

A table of defaults says by how much each fusion without fitted weights loses against the better of its two retrievers.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.contract import load_step
from pipelines.evaluation.qrels import Topics, judged_topics
from pipelines.evaluation.stage_choice import DEFAULT_WEIGHTS, FOLDS, Candidate, DevScores, dev_scores, grid
from pipelines.retrieval.release import load_release
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.statistics.intervals import Floats, interval
from pipelines.store.artifacts import load
from pipelines.store.objects import Store, open_store
from proofs.recommendation import recommendation_figures
from tests.conftest import PROJECT
from tests.figures import write_figures

ELECTRONICS = Path(os.environ.get("ELECTRONICS", PROJECT.parent / "shared/data/chorus"))
REPEATS = 10
NAMES = ("dense", "lexical")
DEFAULTS = [
    Candidate(dict.fromkeys(NAMES, 1.0), "rrf"),
    *(Candidate({"dense": round(1 - weight, 1), "lexical": weight}, "weighted") for weight in (0.1, 0.2, 0.3, 0.5, 0.7)),
]
STATED = Candidate(DEFAULT_WEIGHTS["text"], "weighted")
"""Fusions that need no fitted weights."""


def call(step: str, **values: Any) -> Any:
    return load_step(step).call(values)


def indexed(**ingest: Any) -> tuple[str, str, dict[str, str]]:
    """Ingest, embed and index a collection: the ids of corpus and index, and of the retrievers beside it."""
    corpus = call("ingest", **ingest).corpus
    encoder = call("export_encoder").encoder
    planned = call("plan", corpus=corpus, encoder=encoder)
    parts = {"corpus": corpus, "encoder": encoder, "variant": planned.variant, "base": planned.base}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    index = call("index", embeddings=call("commit_embeddings", **parts, shards=shards).embeddings).index
    lexical = call("index_lexical", index=index).lexical
    return corpus, index, {"lexical": lexical, "known_queries": call("index_known_queries", index=index).known_queries}


def bounds(values: Floats) -> list[float]:
    """Mean, lower and upper bound."""
    found = interval(values.tolist())
    return [round(float(bound or 0), 4) for bound in (found.mean, found.low, found.high)]


def icons(store: Store) -> tuple[dict[str, Any], list[DevScores]]:
    """Figures of the icons, and the scores of all their judged queries for the table of defaults."""
    corpus, index, retrievers = indexed()
    chosen = call("choose_stages", index=index, take="best", **retrievers)
    before = call("assemble", index=index).release
    release = call("assemble", index=index, stages=chosen.stages).release
    values = {}
    for name, one in (("before", before), ("chosen", release)):
        evaluated = call("evaluate", release=one, baseline="none")
        evaluation = load(store, "evaluation", evaluated.evaluation)
        lines = evaluation.text("per_query.jsonl").splitlines()
        values[name] = np.array([_ndcg(line) for line in lines])
    mean, low, high = bounds(values["chosen"] - values["before"])
    table = load(store, "report", chosen.stages).facts["table"]
    stages = load(store, "evaluation", evaluated.evaluation).json("measures.json")
    figures = {
        "icons_ndcg10": round(float(values["chosen"].mean()), 4),
        "icons_before_ndcg10": round(float(values["before"].mean()), 4),
        "icons_bm25_ndcg10": round(stages["measures"]["nDCG@10"]["bm25"]["mean"], 4),
        "icons_gain_ndcg10": mean,
        "icons_gain_lower_bound": low,
        "icons_gain_upper_bound": high,
        "icons_queries": len(values["chosen"]),
        "icons_stages": chosen.names,
        "icons_dev_queries": chosen.dev_queries,
        "icons_candidates": [[row["name"], row["mean"], row["low"], row["high"], row["reason"]] for row in table],
    }
    return figures, scores_of(store, corpus, before, retrievers["lexical"])


def _ndcg(line: str) -> float:
    return float(json.loads(line)["release"]["nDCG@10"])


def scores_of(store: Store, corpus: str, release: str, lexical: str, judged_only: bool = False) -> list[DevScores]:
    """Dense and lexical scores of every judged query of a corpus."""
    topics = judged_topics(load(store, "corpus", corpus), "all", "exclude")
    return _scores(store, topics, release, lexical, judged_only)


def _scores(store: Store, topics: Topics, release: str, lexical: str, judged_only: bool) -> list[DevScores]:
    from pipelines.retrieval.stages.table import load_retrievers

    loaded = load_release(store, release)
    ids = list(loaded.documents)
    retrievers: Mapping[str, Retriever] = load_retrievers({"lexical": load(store, "lexical", lexical)}, loaded.index, ids)
    vectors = loaded.encoder.encode([query.text for query in topics.queries], "query")
    scores = []
    for query, vector in zip(topics.queries, vectors, strict=True):
        grades = topics.qrels[query.id]
        left_out = set(ids) - set(grades) if judged_only else set()
        scores.append(dev_scores(AskedQuery(query, "text", vector=vector), retrievers, grades, left_out))
    return scores


def repeated_folds(scores: Sequence[DevScores], seed: int = 0) -> Floats:
    """nDCG@10 of each query by weights that were fitted on other folds, the mean of REPEATS divisions into folds."""
    tried = grid(NAMES)
    values = np.array([[of_query.ndcg(candidate) for of_query in scores] for candidate in tried])
    random, total = np.random.default_rng(seed), np.zeros(len(scores))
    for _ in range(REPEATS):
        folds = random.permutation(len(scores)) % FOLDS
        for fold in range(FOLDS):
            inside = folds == fold
            total[inside] += values[int(values[:, ~inside].mean(1).argmax()), inside]
    return total / REPEATS


def ndcg_of(candidate: Candidate, scores: Sequence[DevScores]) -> Floats:
    return np.array([of_query.ndcg(candidate) for of_query in scores])


def electronics(store: Store) -> tuple[dict[str, Any], list[DevScores]]:
    """Figures of the electronics, and the scores of their judged queries."""
    corpus, index, retrievers = indexed(source=str(ELECTRONICS))
    release = call("assemble", index=index).release
    scores = scores_of(store, corpus, release, retrievers["lexical"])
    judged = scores_of(store, corpus, release, retrievers["lexical"], judged_only=True)
    figures: dict[str, Any] = {"electronics_queries": len(scores)}
    for suffix, of_kind in (("", scores), ("_judged_only", judged)):
        lexical, fitted = ndcg_of(Candidate({"lexical": 1.0}), of_kind), repeated_folds(of_kind)
        mean, low, high = bounds(fitted - lexical)
        figures |= {
            f"electronics{suffix}_dense_ndcg10": bounds(ndcg_of(Candidate({"dense": 1.0}), of_kind))[0],
            f"electronics{suffix}_bm25_ndcg10": bounds(lexical)[0],
            f"electronics{suffix}_fused_ndcg10": bounds(fitted)[0],
            f"electronics{suffix}_default_ndcg10": bounds(ndcg_of(STATED, of_kind))[0],
            f"electronics{suffix}_gain_over_bm25_ndcg10": mean,
            f"electronics{suffix}_gain_over_bm25_low": low,
            f"electronics{suffix}_gain_over_bm25_high": high,
        }
    return figures, scores


def defaults(collections: Mapping[str, Sequence[DevScores]]) -> list[dict[str, Any]]:
    """A row for each default: its gain over the better of its two retrievers, by collection, and the smallest."""
    rows = []
    for candidate in DEFAULTS:
        gains = {}
        for name, scores in collections.items():
            alone = [ndcg_of(Candidate({retriever: 1.0}), scores) for retriever in NAMES]
            better = max(alone, key=lambda values: float(values.mean()))
            gains[name] = bounds(ndcg_of(candidate, scores) - better)
        rows.append({"default": candidate.name, **gains, "worst": min(gain[0] for gain in gains.values())})
    return sorted(rows, key=lambda row: -row["worst"])


def main() -> int:
    figures: dict[str, Any] = {}
    collections: dict[str, Sequence[DevScores]] = {}
    with tempfile.TemporaryDirectory(prefix="ratchet-rankers-") as folder:
        for name, measure in (("icons", icons), ("electronics", electronics)):
            if name == "electronics" and not ELECTRONICS.exists():
                print(f"electronics: {ELECTRONICS.name} is not there; pass ELECTRONICS=FOLDER")
                continue
            os.environ["RATCHET_HOME"] = f"{folder}/{name}"
            found, collections[name] = measure(open_store())
            figures |= found
        figures["defaults"] = defaults(collections)
    figures |= recommendation_figures()
    write_figures("proof/rankers", figures, seed=0, runs=REPEATS)
    bad = [name for name in ("icons_gain_lower_bound", "planted_shop_gain_lower_bound") if not figures[name] > 0]
    if bad:
        print(f"not above 0: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
