"""choose_stages: by which retrievers, fused how, a release ranks: measured on dev queries, never on test queries."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce, report_of
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import champion_release

if TYPE_CHECKING:
    from pipelines.retrieval.release import Parts

VERSION = 1


class ChooseStagesParams(Params):
    index: str = Field(description="Index id: the dense retriever, and with it encoder and corpus")
    lexical: str = Field("", description="Lexical index of the same corpus; empty: none")
    known_queries: str = Field("", description="Known queries of the same corpus and encoder; empty: none")
    recommender: str = Field("", description="Recommender of the same corpus, for queries that are histories; empty: none")
    reranker: str = Field("", description="Report id of choose_reranker: the last stage if it beats those before; empty: none")
    others: list[str] = Field([], description="More retrievers, each NAME=ARTIFACT, of the table of stages")
    take: str = Field(
        "auto",
        description="auto: the champion's stages, else the best on dev queries; best: measure anew; histories: the champion's "
        "for texts, the best for histories; or stages by name, such as dense+lexical (by ranks) or dense=0.7+lexical=0.3 (by "
        "weighted scores)",
    )
    query_variant: str = Field(
        "", description="Encoder variant of queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )


class ChooseStagesResult(Result):
    stages: str
    """The report's id: pass it to assemble as --stages."""
    names: str
    """The stages in words, such as dense 0.5 + known_queries 0.5."""
    sentence: str
    dev_queries: int
    dev_histories: int
    """Dev queries that are histories, where there is a recommender."""
    found: bool


def choose_stages(params: ChooseStagesParams) -> ChooseStagesResult:
    """Choose the stages of a release: the champion's, those that are named, or the best on the dev queries."""
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import parts_of_index

    store = open_store()
    journal = Journal(store)
    parts = parts_of_index(store, params.index)
    query_variant = params.query_variant or default_variants(journal, parts.encoder.id).query
    artifacts = _artifacts(store, params)
    reranker = report_of(store, "reranker", params.reranker) if params.reranker else None
    kept = champion_release(journal, missing_ok=True) if params.take in ("auto", "histories") else None
    inputs = {"corpus": parts.corpus.id, "encoder": parts.encoder.id, "index": parts.index.id}
    inputs |= {name: artifact.id for name, artifact in artifacts.items()} | ({"champion": kept.id} if kept else {})
    inputs |= {"reranker": reranker.id} if reranker else {}
    semantic = {"take": params.take, "query_variant": query_variant}
    recipe = Recipe(kind="report", step="choose_stages", version=VERSION, inputs=inputs, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        return _choose(store, parts, artifacts, params.take, query_variant, kept, reranker, folder)

    report = produce(store, recipe, build)
    log().info("stages chosen", sentence=report.facts["sentence"])
    facts = {key: report.facts[key] for key in ("names", "sentence", "dev_queries")}
    dev_histories = report.facts.get("dev_histories", 0)
    return ChooseStagesResult(stages=report.id, found=report.found, dev_histories=dev_histories, **facts)


def _artifacts(store: Store, params: ChooseStagesParams) -> dict[str, Artifact]:
    """The artifacts of the retrievers that are there, by the retrievers' names."""
    from pipelines.retrieval.stages.table import RETRIEVERS

    if params.take == "histories" and not params.recommender:
        raise InputError(
            "--take histories without --recommender", "a recommender", "run `python -m pipelines train_recommender`"
        )
    given = {"lexical": params.lexical, "known_queries": params.known_queries}
    given |= dict.fromkeys(("collaborative", "popularity"), params.recommender)
    for pair in params.others:
        name, _, artifact = pair.partition("=")
        if name not in RETRIEVERS or not artifact or given.get(name):
            raise InputError(f"--others {pair}", f"NAME=ARTIFACT, each once of {', '.join(RETRIEVERS)}", "correct it")
        given[name] = artifact
    return {name: load(store, RETRIEVERS[name].artifact, artifact) for name, artifact in given.items() if artifact}


def _choose(
    store: Store,
    parts: "Parts",
    artifacts: dict[str, Artifact],
    take: str,
    query_variant: str,
    champion: Artifact | None,
    reranker: Artifact | None,
    folder: Path,
) -> dict[str, Any]:
    from pipelines.evaluation.reranked_stages import with_reranker
    from pipelines.evaluation.stage_choice import champion_choice, named_choice
    from pipelines.evaluation.stage_measuring import measured_stages
    from pipelines.reports.stages import write_stages_report
    from pipelines.retrieval.stages.card import named
    from pipelines.retrieval.stages.table import stage_artifacts

    ids = {name: artifact.id for name, artifact in artifacts.items()}
    if champion and take == "auto":
        choice = champion_choice(champion, ids)
    elif take in ("auto", "best", "histories"):
        choice = measured_stages(parts, artifacts, query_variant, champion)
    else:
        choice = named_choice(take, ids)
    if reranker:
        choice = with_reranker(choice, parts, artifacts, query_variant, reranker)
    histories = choice.histories
    stage_artifacts(store, choice.stages, parts.ids)
    write_stages_report(folder, choice, parts.corpus.id, ids)
    return {
        "stages": [stage.model_dump() for stage in choice.stages],
        "names": named(choice.stages) or "dense",
        "sentence": choice.sentence,
        "dev_queries": choice.dev_queries,
        "table": choice.rows,
        **({"reranked": choice.reranked} if choice.reranked else {}),
        **({"dev_histories": histories.dev_queries, "table_of_histories": histories.rows} if histories else {}),
    }
