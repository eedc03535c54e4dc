"""What a blend is worth: on the shop in which one rate tells what is relevant, and on ml-100k. A part of `make proof-features`.

On ml-100k a film that got less than four stars was shown and not chosen, so that its rate says how often it was liked; a user's
next liked film is looked for. Where the blend is not taken on dev queries, its cross-fitted gain on these is the figure.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.blended import FEATURE, planted_shop
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder
from tests.pipelines.collections.movielens import Choice, Document, corpus_of_choices

VIEW = "document_interactions"
CUTOFF, LIKED = 0.8, 4.0
WITHOUT, POPULARITY = "without features", "popularity, of the same documents"


def blend_figures(documents: list[Document], choices: list[Choice]) -> dict[str, Any]:
    """The gains in nDCG@10 on both collections."""
    shop = gains(planted_shop, FEATURE)
    films = gains(lambda: corpus_of_choices(documents, choices, quantile=CUTOFF, min_value=LIKED), VIEW)
    return {
        **{f"blend_{name}": value for name, value in films.items()},
        **{f"planted_shop_blend_{name}": value for name, value in shop.items()},
        "planted_shop_blend_gain_lower_bound": shop["gain_low"],
    }


def gains(make: Any, features: str) -> dict[str, Any]:
    """Fit, assemble and evaluate in a store of its own: the gain over the same stages without features, and over popularity."""
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-blend-") as folder:
        home, os.environ["RATCHET_HOME"] = os.environ.get("RATCHET_HOME"), folder
        try:
            return _gains(make(), features)
        finally:
            os.environ.pop("RATCHET_HOME")
            if home is not None:
                os.environ["RATCHET_HOME"] = home


def _gains(corpus: str, features: str) -> dict[str, Any]:
    index = embedded_release(Path(), corpus, static_encoder()).index
    recommender = call("train_recommender", index=index).recommender
    stages = call("choose_stages", index=index, recommender=recommender).stages
    fitted = call("fit_blend", index=index, stages=stages, features=[features])
    if not fitted.blend:
        table = load(open_store(), "blend", fitted.report).facts["table"]
        rows = next(iter(table.values()))
        return _figures(rows[1], rows[2], "dev", False)
    release = call("assemble", index=index, stages=stages, blend=fitted.blend).release
    evaluation = call("evaluate", release=release, baseline="none").evaluation
    blend = {row["ranking"]: row for row in load(open_store(), "evaluation", evaluation).json("measures.json")["blend"]}
    without, popular = (
        {"gain": row["mean"], "gain_low": row["low"], "gain_high": row["high"]}
        for row in (blend[WITHOUT]["gain"], blend[POPULARITY]["gain"])
    )
    return {**_figures(without, popular, "test", True), "queries": blend[WITHOUT]["queries"]}


def _figures(without: dict[str, Any], popular: dict[str, Any], asked: str, taken: bool) -> dict[str, Any]:
    return {
        "taken": taken,
        "measured_on": asked,
        "gain_ndcg10": round(without["gain"], 4),
        "gain_low": round(without["gain_low"], 4),
        "gain_high": round(without["gain_high"], 4),
        "over_popularity_ndcg10": round(popular["gain"], 4),
        "over_popularity_low": round(popular["gain_low"], 4),
        "over_popularity_high": round(popular["gain_high"], 4),
    }
