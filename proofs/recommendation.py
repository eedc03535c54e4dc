"""What recommendation by stages is worth on real choices: ml-100k, and the shop of the tests. A part of `make proof-rankers`.

ml-100k is in the wheel of recbole 1.2.1, which `pip download` puts into build/wheels. It is cut at five times; each cutoff is a
corpus of its own, with its own recommender, choice of stages, release and evaluation. A user who is asked at several cutoffs is
drawn with all of these queries when users are resampled.

Popularity as it is compared with is the baseline of `evaluate`: the better of its two windows, told by the test queries
themselves, which no release can know. The shop is the one of the tests: each user keeps to a genre, and no text says which.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from pipelines.contract import load_step
from pipelines.corpus.documents import Document
from pipelines.evaluation.baselines import past_interactions
from pipelines.evaluation.qrels import judged_topics
from pipelines.evaluation.stage_choice import DEFAULT_WEIGHTS, Candidate, dev_scores
from pipelines.index.vector_index import mean_direction
from pipelines.retrieval.release import load_release
from pipelines.retrieval.stages.answers import AskedQuery
from pipelines.retrieval.stages.table import load_retrievers
from pipelines.store.artifacts import load
from pipelines.store.objects import Store, open_store
from tests.conftest import PROJECT
from tests.pipelines.collections.movielens import (
    INSIDE,
    Choice,
    corpus_of_choices,
    films,
    numbered_films,
    ratings,
    small_ratings,
)

CUTOFFS = (0.5, 0.6, 0.7, 0.8, 0.9)
SHOP_USERS = 300
RESAMPLES = 10_000
WHEELS = PROJECT / "build" / "wheels"
RANKERS = {
    "dense": Candidate({"dense": 1.0}),
    "collaborative": Candidate({"collaborative": 1.0}),
    "popularity": Candidate({"popularity": 1.0}),
    "collaborative + popularity, rrf": Candidate({"collaborative": 1.0, "popularity": 1.0}, "rrf"),
    **{
        f"collaborative {weight:g} + popularity {1 - weight:g}": Candidate(
            {"collaborative": weight, "popularity": round(1 - weight, 1)}, "weighted"
        )
        for weight in (0.1, 0.3, 0.5, 0.7)
    },
}
"""Rankers without fitted weights, each measured on the test queries."""


@dataclass
class ByUser:
    """nDCG@10 of the queries of several cutoffs, by user, in one order for every ranker."""

    users: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    """The stages that were chosen, by cutoff."""

    def bounds(self, ranker: str, against: str = "") -> list[float]:
        """Mean, lower and upper bound at 95 %, users resampled; of the difference to another ranker where one is named."""
        values = np.array(self.values[ranker])
        if against:
            values = values - np.array(self.values[against])
        _, user = np.unique(self.users, return_inverse=True)
        sums, counts = np.bincount(user, values), np.bincount(user)
        drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
        low, high = np.quantile(drawn @ sums / (drawn @ counts), [0.025, 0.975])
        return [round(float(bound), 4) for bound in (values.mean(), low, high)]


def call(step: str, **values: Any) -> Any:
    return load_step(step).call(values)


def index_of(corpus: str) -> str:
    """The index of a corpus, embedded by the default encoder."""
    encoder = call("export_encoder").encoder
    planned = call("plan", corpus=corpus, encoder=encoder)
    parts = {"corpus": corpus, "encoder": encoder, "variant": planned.variant, "base": planned.base}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    return str(call("index", embeddings=call("commit_embeddings", **parts, shards=shards).embeddings).index)


def measure(store: Store, corpus: str, found: ByUser) -> None:
    """Train, choose, assemble and evaluate one corpus; adds its queries to what was found."""
    index = index_of(corpus)
    recommender = call("train_recommender", index=index).recommender
    chosen = call("choose_stages", index=index, recommender=recommender, take="best")
    release = call("assemble", index=index, stages=chosen.stages).release
    evaluation = load(store, "evaluation", call("evaluate", release=release, baseline="none").evaluation)
    rows = [json.loads(line) for line in evaluation.text("per_query.jsonl").splitlines()]
    found.users += [row["query"] for row in rows]
    found.names.append(chosen.names)
    of_test = {"release": [row["release"]["nDCG@10"] for row in rows]}
    of_test["the baseline popularity"] = [row["popularity"]["nDCG@10"] for row in rows]
    for name, values in (of_test | rankers(store, corpus, release, recommender)).items():
        found.values.setdefault(name, []).extend(values)


def rankers(store: Store, corpus: str, release: str, recommender: str) -> dict[str, list[float]]:
    """nDCG@10 of each test query by each ranker of RANKERS, in the order of query ids."""
    loaded, artifact = load_release(store, release), load(store, "corpus", corpus)
    topics = judged_topics(artifact, "test", "exclude")
    past = past_interactions(artifact, topics)
    assert past is not None, "every query is a history"
    model = load(store, "recommender", recommender)
    retrievers = load_retrievers({"collaborative": model, "popularity": model}, loaded.index, list(loaded.documents))
    scores = [
        dev_scores(
            AskedQuery(query, "history", query.history, mean_direction(loaded.index.vectors(query.history))),
            retrievers,
            topics.qrels[query.id],
            past.seen[query.id],
        )
        for query in topics.queries
    ]
    return {name: [of_query.ndcg(candidate) for of_query in scores] for name, candidate in RANKERS.items()}


def collection(name: str, documents: list[Document], choices: list[Choice], cutoffs: Iterable[float]) -> ByUser:
    """What a collection gives at several cutoffs, in a store of its own."""
    found = ByUser()
    with tempfile.TemporaryDirectory(prefix=f"ratchet-{name}-") as folder:
        before = os.environ.get("RATCHET_HOME")
        os.environ["RATCHET_HOME"] = folder
        try:
            for cutoff in cutoffs:
                measure(open_store(), corpus_of_choices(documents, choices, quantile=cutoff), found)
        finally:
            os.environ.pop("RATCHET_HOME") if before is None else os.environ.update(RATCHET_HOME=before)
    return found


def ml_100k(folder: Path) -> tuple[list[Document], list[Choice]] | None:
    """Films and ratings of ml-100k; none where its wheel is not there."""
    wheel = next(WHEELS.glob("recbole-*.whl"), None)
    if wheel is None:
        return None
    with ZipFile(wheel) as packed:
        for name in ("inter", "item"):
            (folder / f"ml-100k.{name}").write_bytes(packed.read(f"{INSIDE}ml-100k.{name}"))
    return list(films(folder)), list(ratings(folder))


def figures_of(prefix: str, found: ByUser) -> dict[str, Any]:
    """The figures of one collection, under its name."""
    gain = found.bounds("release", "the baseline popularity")
    return {
        f"{prefix}_ndcg10": found.bounds("release")[0],
        f"{prefix}_popularity_ndcg10": found.bounds("the baseline popularity")[0],
        f"{prefix}_gain_ndcg10": gain[0],
        f"{prefix}_gain_low": gain[1],
        f"{prefix}_gain_high": gain[2],
        f"{prefix}_queries": len(found.users),
        f"{prefix}_users": len(set(found.users)),
        f"{prefix}_stages": [names.rpartition("history: ")[2] for names in found.names],
        f"{prefix}_rankers": [[name, *found.bounds(name)] for name in found.values],
    }


def recommendation_figures() -> dict[str, Any]:
    """The figures of ml-100k, where its wheel is there, of the planted shop, and the table of defaults."""
    figures: dict[str, Any] = {"history_default": Candidate(DEFAULT_WEIGHTS["history"], "weighted").name}
    collections: dict[str, ByUser] = {}
    with tempfile.TemporaryDirectory(prefix="ratchet-ml-100k-") as folder:
        real = ml_100k(Path(folder))
    if real is None:
        print("ml-100k: run `pip download --no-deps --dest build/wheels recbole==1.2.1`")
    else:
        collections["movielens"] = collection("ml-100k", *real, CUTOFFS)
    collections["planted_shop"] = collection("shop", numbered_films(), small_ratings(SHOP_USERS), CUTOFFS)
    for name, found in collections.items():
        figures |= figures_of(name, found)
    figures["planted_shop_gain_lower_bound"] = figures["planted_shop_gain_low"]
    figures["history_defaults"] = defaults(collections)
    return figures


def defaults(collections: Mapping[str, ByUser]) -> list[dict[str, Any]]:
    """A row for each ranker: its gain over the better of collaborative and popularity, by collection, and the smallest."""
    rows = []
    for name in RANKERS:
        gains = {}
        for collected, found in collections.items():
            better = max(("collaborative", "popularity"), key=lambda ranker, of=found: float(np.mean(of.values[ranker])))
            gains[collected] = found.bounds(name, better)
        rows.append({"default": name, **gains, "worst": min(gain[0] for gain in gains.values())})
    return sorted(rows, key=lambda row: -row["worst"])


if __name__ == "__main__":
    print(json.dumps(recommendation_figures(), indent=1))
