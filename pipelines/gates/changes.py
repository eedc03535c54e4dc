"""In which parts a release differs from the one that serves: a rule with a scope applies to changes of its parts only."""

from typing import get_args

from pipelines.evaluation.record import Evaluation
from pipelines.gates.gate_file import Part
from pipelines.retrieval.stages.card import RERANK
from pipelines.retrieval.stages.table import RETRIEVERS
from pipelines.store.artifacts import load_exactly

QUERY_VARIANT, STAGES = "query_variant", "stages"
"""Params of a release's recipe by which it ranks."""
PART_OF = {QUERY_VARIANT: "encoder", RERANK: "reranker", **{name: kind.artifact for name, kind in RETRIEVERS.items()}}
"""The part that a recipe names otherwise: the artifacts of stages are under the stages' names."""


def changed_parts(evaluation: Evaluation, champion: Evaluation | None) -> set[str]:
    """The parts that differ; all where there is nothing to compare with."""
    if champion is None:
        return set(get_args(Part))
    releases = [load_exactly(one.artifact.store, "release", one.release).manifest.recipe for one in (evaluation, champion)]
    ours, theirs = (
        {**recipe.inputs, **{name: recipe.params.get(name) for name in (QUERY_VARIANT, STAGES)}} for recipe in releases
    )
    return {PART_OF.get(name, name) for name in ours | theirs if ours.get(name) != theirs.get(name)}
