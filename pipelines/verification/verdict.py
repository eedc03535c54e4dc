"""A stored verdict is decided again, by the rules and the evidence that its recipe names."""

from datetime import date
from typing import Any

from pipelines.errors import CorruptArtifact, InputError
from pipelines.evaluation.record import Evaluation
from pipelines.evaluation.robustness import robustness_of
from pipelines.gates.changes import changed_parts
from pipelines.gates.evidence import Evidence, evidence_of
from pipelines.gates.files import gate_file_names
from pipelines.gates.gate_file import GATE_FILE, GateFile, read_gate_file
from pipelines.gates.judging import judge
from pipelines.gates.staleness import other_version
from pipelines.gates.waivers import waivers_in_force
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.journal import Journal
from pipelines.verification.scores import first_difference

MEASURED = ("latency", "off_policy")
"""Inputs of a verdict that are measured besides the ranking; each is a kind of artifact."""


def check_verdict(journal: Journal, verdict: Artifact) -> str:
    """Whether the rules decide again as the verdict says; a sentence. One of another version of `gate` is not decided again.

    Raises:
        CorruptArtifact: they decide otherwise.
        InputError: its gate file is not here.
    """
    params = verdict.manifest.recipe.params
    stored = verdict.json("verdict.json")
    if "rules" not in params:
        return f"{stored['outcome']}; not decided again: it is older than gate files"
    if version := other_version(verdict.manifest.recipe):
        return f"{stored['outcome']}; not decided again: by {version}"
    gate_file = _gate_file(verdict, str(params["rules"]))
    evidence = _evidence(journal, verdict)
    decided = judge(gate_file, evidence, changed_parts(evidence.evaluation, evidence.champion)).verdict
    derived = decided.model_dump(mode="json")
    told = {"verdict.json": stored, "its manifest": verdict.facts}
    differences = {where: first_difference({key: derived.get(key) for key in said}, said) for where, said in told.items()}
    if difference := next((f"{where}, {found}" for where, found in differences.items() if found), ""):
        raise CorruptArtifact(
            f"verdict {verdict.id}: {difference}",
            f"what the rules of gate file {gate_file.name} decide on its evidence",
            "find who changed it; then delete the verdict and run `gate` again",
        )
    return f"{len(decided.rules)} rules of gate file {gate_file.name} decide again: {decided.sentence}"


def _gate_file(verdict: Artifact, digest: str) -> GateFile:
    """The rules that the verdict keeps; of a verdict that keeps none, the shipped ones if they are the same.

    Raises:
        CorruptArtifact: those that it keeps are others than its recipe names.
        InputError: it keeps none, and no shipped gate file is the same.
    """
    if GATE_FILE in verdict.manifest.files:
        kept = GateFile.model_validate(verdict.json(GATE_FILE))
        if kept.digest != digest:
            raise CorruptArtifact(f"{GATE_FILE} of verdict {verdict.id}", f"the rules {digest} of its recipe", "restore it")
        return kept
    shipped = (read_gate_file(name) for name in gate_file_names())
    found = next((gate_file for gate_file in shipped if gate_file.digest == digest), None)
    if found is None:
        raise InputError(
            f"verdict {verdict.id} by rules {digest}, which it does not keep and no shipped gate file has",
            "a verdict that keeps its rules",
            "run `gate` again with its gate file; verdicts keep their rules since",
        )
    return found


def _evidence(journal: Journal, verdict: Artifact) -> Evidence:
    """What the verdict was decided by, as its recipe names it."""
    store, inputs, params = journal.store, verdict.inputs, verdict.manifest.recipe.params

    def evaluation(role: str) -> Evaluation | None:
        return Evaluation(load_exactly(store, "evaluation", inputs[role])) if role in inputs else None

    own, other, serving = evaluation("evaluation"), evaluation("baseline"), str(params["champion"])
    assert own is not None
    waived: Any = params.get("waivers", [])
    return Evidence(
        own,
        serving,
        None if own.release == serving else other,
        anchor_release=str(params["anchor"]),
        anchor=evaluation("anchor"),
        waivers=tuple(waiver for waiver in waivers_in_force(journal, date.min) if waiver.entry in waived),
        judged_before=int(params["judged_before"]),
        robustness=robustness_of(store, inputs.get("robustness", ""), own),
        champion_robustness=robustness_of(store, inputs.get("other_robustness", ""), other),
        **evidence_of({kind: load_exactly(store, kind, inputs[kind]) for kind in MEASURED if kind in inputs}),
    )
