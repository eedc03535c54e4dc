"""In which parts a release differs from the one that serves: a rule with a scope applies to changes of its parts only."""

from typing import get_args

from pipelines.evaluation.record import Evaluation
from pipelines.gates.gate_file import Part
from pipelines.store.artifacts import load_exactly


def changed_parts(evaluation: Evaluation, champion: Evaluation | None) -> set[str]:
    """The parts that differ; all where there is nothing to compare with."""
    if champion is None:
        return set(get_args(Part))
    releases = [load_exactly(one.artifact.store, "release", one.release).manifest.recipe for one in (evaluation, champion)]
    ours, theirs = ({**recipe.inputs, "stages": recipe.params.get("stages")} for recipe in releases)
    return {part for part in ours | theirs if ours.get(part) != theirs.get(part)}
