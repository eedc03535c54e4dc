"""The retrievers that a release may have: a new one is one file of this folder and one line here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import InputError
from pipelines.index.vector_index import Index
from pipelines.models.reranker import KIND as RERANKER_VARIANTS
from pipelines.retrieval.stages.answers import Retriever
from pipelines.retrieval.stages.blend import KIND as BLEND_KIND
from pipelines.retrieval.stages.card import BLEND, FUSION, NO_RETRIEVERS, RERANK, QueryKind, StageCard, named
from pipelines.retrieval.stages.card import DENSE as DENSE  # noqa: PLC0414  # exported
from pipelines.retrieval.stages.collaborative import load_collaborative
from pipelines.retrieval.stages.dense import Dense
from pipelines.retrieval.stages.known_queries import load_known_queries
from pipelines.retrieval.stages.lexical import load_lexical
from pipelines.retrieval.stages.popularity import load_popularity
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import Store

POPULARITY = "popularity"
"""What most users chose."""
TEXT: frozenset[QueryKind] = frozenset({"text"})
HISTORY: frozenset[QueryKind] = frozenset({"history"})
BOTH: frozenset[QueryKind] = frozenset({"text", "history"})


@dataclass(frozen=True)
class RetrieverKind:
    """A retriever: which queries it answers, what its artifact is and must have been made from, and how it is loaded."""

    answers: frozenset[QueryKind]
    artifact: str
    """The kind of its artifact."""
    load: Callable[[Artifact, Sequence[str]], Retriever]
    """Gets the artifact and the document ids of the corpus, sorted."""
    step: str
    """The step that makes the artifact."""
    made_from: tuple[str, ...] = ("corpus",)
    """Parts of the release that the artifact must name as inputs."""


RETRIEVERS: Mapping[str, RetrieverKind] = {
    "lexical": RetrieverKind(TEXT, "lexical", load_lexical, "index_lexical"),
    "known_queries": RetrieverKind(TEXT, "known_queries", load_known_queries, "index_known_queries", ("corpus", "encoder")),
    "collaborative": RetrieverKind(HISTORY, "recommender", load_collaborative, "train_recommender"),
    POPULARITY: RetrieverKind(HISTORY, "recommender", load_popularity, "train_recommender"),
}
"""Every retriever besides `dense`, by its stage's name."""


def answered(stage: StageCard) -> frozenset[QueryKind]:
    """The kinds of queries that a retriever, a reranker or a blend answers and is meant for."""
    able = BOTH if stage.stage in (DENSE, BLEND) else TEXT if stage.stage == RERANK else _kind(stage.stage).answers
    return frozenset(kind for kind in able if stage.answers(kind))


def _kind(stage: str) -> RetrieverKind:
    if stage not in RETRIEVERS:
        known = f"one of {DENSE}, {', '.join(RETRIEVERS)}, {', '.join(NO_RETRIEVERS)}"
        raise InputError(f"stage {stage!r}", known, "take the version of Ratchet that made it")
    return RETRIEVERS[stage]


def check_stages(stages: Sequence[StageCard]) -> None:
    """Refuse stages that can't rank.

    >>> check_stages([StageCard(stage="dense"), StageCard(stage="lexical"), StageCard(stage="fusion", method="rrf")])

    Raises:
        InputError: a stage that this version does not know, two of one name, several retrievers without a fusion after them, or
            weights that sum to 0, or a reranker or a blend that is not last or lacks what it needs.
    """
    stages = _without_blend(stages)
    _check_rerank(stages)
    if not stages:
        raise InputError("no stage", f"at least one retriever, such as {DENSE}", "name one")
    for kind in sorted(BOTH):
        retrievers = [stage for stage in stages if stage.stage not in NO_RETRIEVERS and kind in answered(stage)]
        fusions = [place for place, stage in enumerate(stages) if stage.stage == FUSION and stage.answers(kind)]
        names = ", ".join(stage.stage for stage in stages if stage.answers(kind))
        if len({stage.stage for stage in retrievers}) < len(retrievers):
            raise InputError(f"stages {names} for {kind} queries", "each stage once", "leave one out")
        last = max((place for place, stage in enumerate(stages) if stage in retrievers), default=-1)
        fused = len(fusions) == 1 and fusions[0] > last and stages[fusions[0]].method is not None
        if len(retrievers) > 1 and not fused:
            raise InputError(f"stages {names} for {kind} queries", "one fusion with a method after the retrievers", "add it")
        if len(retrievers) > 1 and math.fsum(stage.weight for stage in retrievers) <= 0:
            weights = ", ".join(f"{stage.stage} {stage.weight:g}" for stage in retrievers)
            raise InputError(f"weights that sum to 0 ({weights})", "a weight above 0", "give one stage a weight")


def _without_blend(stages: Sequence[StageCard]) -> Sequence[StageCard]:
    """The stages before the blend; refuse one that is not the last, or has no artifact."""
    places = [place for place, stage in enumerate(stages) if stage.stage == BLEND]
    if places and (places != [len(stages) - 1] or places == [0] or not stages[-1].artifact):
        names = ", ".join(stage.stage for stage in stages)
        raise InputError(f"stages {names}", f"{BLEND} once with its artifact, after all others", "put it last")
    return stages[: len(stages) - len(places)]


def _check_rerank(stages: Sequence[StageCard]) -> None:
    """Refuse a reranker that is not the last stage, has nothing before it, or is not described wholly."""
    places = [place for place, stage in enumerate(stages) if stage.stage == RERANK]
    if not places:
        return
    if places != [len(stages) - 1] or places == [0]:
        names = ", ".join(stage.stage for stage in stages)
        raise InputError(f"stages {names}", f"{RERANK} once, after the stages that it orders anew", "put it last")
    card = stages[-1]
    if not (card.artifact and card.variant and card.candidates and card.weight + card.first_stage > 0):
        raise InputError(
            f"{RERANK} with artifact {card.artifact!r}, variant {card.variant!r}, {card.candidates} candidates, weights "
            f"{card.first_stage:g} and {card.weight:g}",
            "an artifact with a variant, a candidate or more, and a weight above 0",
            "run `python -m pipelines choose_reranker`",
        )


def stage_artifacts(store: Store, stages: Sequence[StageCard], parts: Mapping[str, str]) -> dict[str, Artifact]:
    """The artifacts of stages by the stages' names, checked to be made from the release's parts; no file is read.

    Args:
        store: that has them.
        stages: of a release.
        parts: ids by part: corpus, encoder, embeddings, index.

    Raises:
        InputError: a stage that this version does not know, or whose artifact was made from something else.
    """
    artifacts = {}
    for stage in stages:
        if stage.stage in (DENSE, FUSION):
            continue
        if stage.stage == RERANK:  # as an encoder, it is made for no one corpus
            artifacts[RERANK] = load_exactly(store, RERANKER_VARIANTS, stage.artifact)
            continue
        if stage.stage == BLEND:
            artifacts[BLEND] = _blend(store, stage, stages, parts)
            continue
        kind = _kind(stage.stage)
        artifact = load_exactly(store, kind.artifact, stage.artifact)
        _check_made_from(artifact, stage.stage, kind.made_from, kind.step, parts)
        artifacts[stage.stage] = artifact
    return artifacts


def _check_made_from(artifact: Artifact, stage: str, made_from: Sequence[str], step: str, parts: Mapping[str, str]) -> None:
    for part in made_from:
        recorded = artifact.inputs.get(part)
        if recorded != parts[part]:
            raise InputError(
                f"{artifact.kind} {artifact.id}, made from {part} {recorded}, beside {part} {parts[part]}",
                f"stage {stage} made from the release's {part}",
                f"run `python -m pipelines {step}` for {part} {parts[part]}",
            )


def _blend(store: Store, card: StageCard, stages: Sequence[StageCard], parts: Mapping[str, str]) -> Artifact:
    """A blend's artifact, whose weights were fitted to the scores of the stages before it."""
    artifact = load_exactly(store, BLEND_KIND, card.artifact)
    _check_made_from(artifact, BLEND, ("corpus", "encoder"), "fit_blend", parts)
    fitted_to = [StageCard(**stage) for stage in artifact.manifest.recipe.params["stages"]]
    before = [stage for stage in stages if stage.stage != BLEND]
    if fitted_to != before:
        raise InputError(
            f"blend {artifact.id}, fitted to the stages {named(fitted_to)}, after {named(before)}",
            "a blend that was fitted to the same stages, artifacts and weights",
            "run `python -m pipelines fit_blend` with these stages",
        )
    return artifact


def load_retrievers(artifacts: Mapping[str, Artifact], index: Index, ids: Sequence[str]) -> dict[str, Retriever]:
    """Every retriever by its stage's name, `dense` among them.

    Args:
        artifacts: by stage name; a reranker or a blend among them is no retriever.
        index: of the release.
        ids: document ids of its corpus, sorted.
    """
    retrievers: dict[str, Retriever] = {DENSE: Dense(index)}
    return retrievers | {
        name: RETRIEVERS[name].load(artifact, ids) for name, artifact in artifacts.items() if name not in NO_RETRIEVERS
    }
