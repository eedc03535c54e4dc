"""train_recommender: interactions become a model that answers histories; nothing since the test's cutoff is seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import champion_release

if TYPE_CHECKING:
    from pipelines.evaluation.dev import PastOfCorpus

VERSION = 1


class TrainRecommenderParams(Params):
    corpus: str = Field("", description="Corpus id; empty: that of the index")
    index: str = Field("", description="Index id, in place of --corpus; both empty: the champion's index")
    algorithm: Literal["auto", "ease", "item-knn", "markov"] = Field(
        "auto", description="auto: ease, unless another is better on dev queries beyond chance"
    )
    neighbours: int = Field(200, ge=1, le=10_000, description="Documents that each document speaks for")
    regularization: float = Field(200.0, gt=0, le=1e9, description="Of ease: the penalty of large weights")
    shrinkage: float = Field(10.0, ge=0, le=1e9, description="Of item-knn and markov: how much rare documents are marked down")
    most_items: int = Field(8_000, ge=2, le=30_000, description="Of ease: the most chosen documents that enter")


class TrainRecommenderResult(Result):
    recommender: str
    """Empty: the corpus has no choice before its test queries, so there is nothing to train on."""
    corpus: str
    index: str
    """Empty: a corpus was given."""
    algorithm: str
    sentence: str
    interactions: int
    """Before the test queries."""
    documents: int
    """Those that were chosen; others are never recommended by it."""
    dev_queries: int
    empty: bool
    found: bool


def train_recommender(params: TrainRecommenderParams) -> TrainRecommenderResult:
    """Train on the choices before the test queries; choose the algorithm by choices that came shortly before them."""
    from pipelines.corpus.documents import documents
    from pipelines.evaluation.dev import past_of
    from pipelines.retrieval.stages.collaborative import KIND

    store = open_store()
    corpus, index = _corpus(store, params)
    given = {"corpus": corpus.id, "index": index}
    past = past_of(corpus, [document.id for document in documents(corpus)])
    if not past.interactions.chosen.any():
        log().info("no recommender", reason="no choice of a user before the test queries", corpus=corpus.id)
        sentence = "No recommender: the corpus has no choice of a user before its test queries."
        nothing = {"interactions": len(past.interactions), "documents": 0, "dev_queries": 0}
        return TrainRecommenderResult(
            recommender="", algorithm="", sentence=sentence, empty=True, found=False, **nothing, **given
        )
    semantic = params.recipe_params({"corpus", "index"})
    recipe = Recipe(kind=KIND, step="train_recommender", version=VERSION, inputs={"corpus": corpus.id}, params=semantic)
    trained = produce(store, recipe, lambda folder: _train(folder, past, params))
    log().info("recommender trained", sentence=trained.facts["sentence"])
    facts = {key: trained.facts[key] for key in ("algorithm", "sentence", "interactions", "documents", "dev_queries")}
    return TrainRecommenderResult(recommender=trained.id, empty=False, found=trained.found, **facts, **given)


def _corpus(store: Store, params: TrainRecommenderParams) -> tuple[Artifact, str]:
    """The corpus, and the id of the index by which it was named, if it was."""
    from pipelines.retrieval.release import parts_of_index

    if params.corpus and params.index:
        raise InputError(
            f"--corpus {params.corpus!r} and --index {params.index!r}", "one of the two", "pass a corpus or an index"
        )
    if params.corpus:
        return load(store, "corpus", params.corpus), ""
    champion = None if params.index else champion_release(Journal(store))
    if not params.index and champion is None:
        raise InputError(
            "neither a corpus nor an index", "a champion, whose index is taken", "pass --index, or deploy a release"
        )
    index = params.index or (champion.inputs["index"] if champion else "")
    parts = parts_of_index(store, index)
    return parts.corpus, parts.index.id


def _train(folder: Path, past: "PastOfCorpus", params: TrainRecommenderParams) -> dict[str, Any]:
    from pipelines.evaluation.recommender_choice import write_recommender
    from pipelines.models.recommenders import RecommenderOptions

    options = RecommenderOptions(params.neighbours, params.regularization, params.shrinkage, params.most_items)
    return write_recommender(folder, past, params.algorithm, options)
