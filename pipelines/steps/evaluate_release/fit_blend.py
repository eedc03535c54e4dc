"""fit_blend: the weights by which a release's scores and its documents' features are added up, fitted on dev queries."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import champion_release

if TYPE_CHECKING:
    from pipelines.features.historical import Column
    from pipelines.retrieval.release import Parts
    from pipelines.retrieval.stages.card import StageCard

VERSION = 1


class FitBlendParams(Params):
    index: str = Field(description="Index id: the dense retriever, and with it encoder and corpus")
    stages: str = Field(
        "", description="Whose stages come before: report id of choose_stages, or release id; empty: dense alone"
    )
    reranker: str = Field("", description="Report id of choose_reranker, if its reranker comes before the blend, too")
    features: list[str] = Field(
        [],
        description="Numbers of documents that the ranking uses, such as document_interactions.ctr_7d, or all of a view by its "
        "name; none: no blend; empty: those of the champion's blend, if it has one",
    )
    feature_log: Literal["", "server", "interactions"] = Field(
        "",
        description="server: of the search server's exposures and clicks; interactions: of the corpus's; empty: as the "
        "champion's blend, else the interactions",
    )
    blend_candidates: int = Field(100, ge=10, le=1000, description="First documents of the other stages that are blended")
    query_variant: str = Field(
        "", description="Encoder variant of queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )


class FitBlendResult(Result):
    blend: str
    """Pass it to assemble as --blend; empty: nothing is blended."""
    report: str
    """The same artifact with its report, also where it is not taken; empty: no features were asked for."""
    sentence: str
    found: bool


def fit_blend(params: FitBlendParams) -> FitBlendResult:
    """Fit a blend on dev queries and past choices; it is taken where it ranks these better beyond chance."""
    store = open_store()
    names, source = _asked(store, Journal(store), params)
    if not names:
        return FitBlendResult(blend="", report="", sentence="No features were asked for, so nothing is blended.", found=False)
    made = _fitted(store, params, names, source)
    log().info("blend fitted", sentence=made.facts["sentence"])
    return FitBlendResult(
        blend=made.id if made.facts["queries"] else "", report=made.id, sentence=made.facts["sentence"], found=made.found
    )


def _fitted(store: Store, params: FitBlendParams, names: list[str], source: str) -> Artifact:
    """The blend of these features, whose values are computed as of each dev query's time; found if it was made before."""
    from pipelines.corpus.documents import documents
    from pipelines.evaluation.blend_fit import asked_times
    from pipelines.evaluation.dev import past_of
    from pipelines.features.historical import columns_of, cuts_before, rows_as_of
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import parts_of_index
    from pipelines.retrieval.stages.described import stages_before_blend
    from pipelines.retrieval.stages.table import stage_artifacts

    parts = parts_of_index(store, params.index)
    stages = stages_before_blend(store, params.stages, params.reranker)
    query_variant = params.query_variant or default_variants(Journal(store), parts.encoder.id).query
    columns, ids = columns_of(names), [document.id for document in documents(parts.corpus)]
    cuts = cuts_before(asked_times(past_of(parts.corpus, ids), now=int(datetime.now(UTC).timestamp()) if source else 0))
    views = {column.view.name: column.view for column in columns}
    asked = {"cuts": [cut.isoformat() for cut in cuts]}
    rows = {name: rows_as_of(parts.corpus, view, source, cuts, "fit_blend", VERSION, asked) for name, view in views.items()}
    inputs = {**parts.ids, **{f"features of {view}": artifact.id for view, artifact in rows.items()}}
    inputs |= {name: artifact.id for name, artifact in stage_artifacts(store, stages, parts.ids).items()}
    semantic = {
        "stages": [stage.model_dump() for stage in stages],
        "features": [column.name for column in columns],
        "ttl_s": {name: view.ttl.total_seconds() for name, view in views.items()},
        "log": source,
        "candidates": params.blend_candidates,
        "query_variant": query_variant,
    }
    recipe = Recipe(kind="blend", step="fit_blend", version=VERSION, inputs=inputs, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        seconds = [int(cut.timestamp()) for cut in cuts]
        return _fit(folder, parts, ids, stages, columns, rows, seconds, recipe)

    return produce(store, recipe, build)


def _asked(store: Store, journal: Journal, params: FitBlendParams) -> tuple[list[str], str]:
    """The features to fit and the log that they are of: of what is not named, what the champion's blend has."""
    from pipelines.features.events import meant_log
    from pipelines.retrieval.stages.blend import card_of
    from pipelines.retrieval.stages.card import BLEND

    names = list(filter(None, params.features))
    if names == ["none"]:
        return [], ""
    champion = champion_release(journal, missing_ok=True)
    if champion is None or BLEND not in champion.inputs:
        return names, meant_log(params.feature_log, "")
    card = card_of(load_exactly(store, "blend", champion.inputs[BLEND]))
    return names or [feature.name for feature in card.features], meant_log(params.feature_log, card.log)


def _fit(
    folder: Path,
    parts: "Parts",
    ids: list[str],
    stages: "tuple[StageCard, ...]",
    columns: "list[Column]",
    rows: dict[str, Artifact],
    cuts: list[int],
    recipe: Recipe,
) -> dict[str, Any]:
    from pipelines.evaluation.blend_fit import choices_before, fitted_blend
    from pipelines.features.historical import historical_values
    from pipelines.reports.blend import write_blend_report
    from pipelines.retrieval.stages.blend import StoredValues, write_blend

    asked, features = recipe.params, [column.unfitted for column in columns]
    stored = StoredValues.of(ids, cuts, historical_values(rows, columns, cuts, ids), choices_before(parts.corpus, ids, cuts))
    fitted = fitted_blend(parts, stages, asked["query_variant"], features, stored, asked["log"], asked["candidates"])
    write_blend(folder, fitted.card, stored)
    write_blend_report(folder, fitted, stages, recipe.inputs)
    return {
        "queries": fitted.queries,
        "sentence": fitted.sentence,
        "features": asked["features"],
        "weights": {kind: dict(weights) for kind, weights in fitted.card.weights.items()},
        "table": {one.kind: list(one.rows) for one in fitted.kinds},
    }
