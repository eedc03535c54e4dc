"""Whether a verdict is stale: the rules or the code that it rests on are no longer those of today.

Data is compared elsewhere: `promote` refuses a verdict against another champion, and one by queries of another corpus or split.
"""

from pathlib import Path

from pipelines.contract import load_step, step_names
from pipelines.errors import InputError
from pipelines.gates.files import gate_file_names
from pipelines.gates.gate_file import OPTIONS, rules_with_options
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, find
from pipelines.store.closure import gone_recipe
from pipelines.store.recipes import Recipe

JUDGED = {
    "evaluation": "evaluation",
    "baseline": "evaluation",
    "anchor": "evaluation",
    "latency": "latency",
    "off_policy": "off_policy",
    "robustness": "robustness",
    "other_robustness": "robustness",
}
"""Inputs of a verdict that steps measured, and their kinds; the option of `gate` that takes each has its name."""


def why_stale(verdict: Artifact, gate_file: str = "") -> tuple[str, str]:
    """What moved since a verdict, and the command that judges again; empty: nothing.

    Args:
        verdict: whose recipe and evidence are compared with the steps of today.
        gate_file: the rules of today, by name or path; empty: those that it was judged by, where they can be read here.

    Raises:
        InputError: `gate_file` can't be read.
    """
    evidence = [recipe for role in JUDGED if (recipe := _recipe_of(verdict, role))]
    measured = {told for recipe in evidence if (told := other_version(recipe))}
    moved = [*sorted(measured), *([told] if (told := other_version(verdict.manifest.recipe)) else [])]
    if rules := _rules_moved(verdict, gate_file):
        moved.append(rules)
    if not moved:
        return "", ""
    again = f"evaluate --release {verdict.inputs['release']}"
    if measured:
        return ", ".join(moved), f"run `python -m pipelines {again}`, and `gate` with what it gives"
    named = " ".join(f"--{role.replace('_', '-')} {verdict.inputs[role]}" for role in JUDGED if role in verdict.inputs)
    ruled = gate_file or verdict.manifest.tuning.get("gate_file", "")
    return ", ".join(moved), f"run `python -m pipelines gate {named}{f' --gate-file {ruled}' if ruled else ''}`"


def _recipe_of(verdict: Artifact, role: str) -> Recipe | None:
    """The recipe of a piece of evidence, also where `gc` took the artifact away; None: there is none, or it is not known."""
    name = verdict.inputs.get(role, "")
    if not name:
        return None
    artifact = find(verdict.store, JUDGED[role], name)
    return artifact.manifest.recipe if artifact else gone_recipe(verdict.store, name)


def other_version(recipe: Recipe) -> str:
    """A step whose output has another meaning today; empty: it has not."""
    today = load_step(recipe.step).version if recipe.step in step_names() else None
    return "" if recipe.version == today else f"{recipe.step} {recipe.version}, today's is {today or 'gone'}"


def _rules_moved(verdict: Artifact, gate_file: str) -> str:
    """The gate file whose rules are others today; empty: they are not, or nobody can tell.

    A verdict from before there were gate files names no rules. One by a file that is not here, as in a pod, is not compared.
    """
    recipe = verdict.manifest.recipe
    name = gate_file or verdict.manifest.tuning.get("gate_file", "")
    if "rules" not in recipe.params or not name:
        return ""
    if not gate_file and name not in gate_file_names() and not Path(name).is_file():
        log().warning("the gate file is not here, so its rules are not compared", gate_file=name, next="pass --gate-file")
        return ""
    defaults = {option: field.default for option, field in load_step("gate").params.model_fields.items()}
    values = {option: recipe.params.get(option, defaults[option]) for option in (*OPTIONS, "power")}
    try:
        today = rules_with_options(name, values, defaults).digest
    except InputError:
        if gate_file:
            raise
        today = ""
    return "" if today == recipe.params["rules"] else f"gate file {name}, whose rules are others today"
