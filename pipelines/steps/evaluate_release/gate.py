"""gate: an evaluation and the champion's become a verdict, by the rules of a gate file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from pipelines.contract import Added, Params, Result
from pipelines.gates.files import DEFAULT, gate_file_names
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, find, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.gates.evidence import Evidence
    from pipelines.gates.gate_file import GateFile

VERSION = 4
BEFORE_GATE_FILES = 3
"""The version whose verdicts name no rules."""
EVIDENCE = ("latency", "off_policy")
"""Options that name what was measured besides the ranking; each is a kind of artifact."""
ROBUSTNESS = ("robustness", "other_robustness")
"""The same on perturbed queries, for both sides of the comparison."""


class GateParams(Params):
    evaluation: str = Field(description="Evaluation id of the challenger")
    baseline: str = Field("", description="Evaluation id of the champion on the same queries; empty: there is none")
    anchor: Annotated[str, Added()] = Field(
        "", description="Evaluation id of the anchor on the same queries; empty: it is the champion, or there is none"
    )
    gate_file: Annotated[str, Added()] = Field(
        DEFAULT,
        description="Rules: the name of a shipped gate file, or a path",
        json_schema_extra={"enum": [*gate_file_names()]},
    )
    latency: Annotated[str, Added()] = Field("", description="Latency id, from measure_latency; empty: not measured")
    off_policy: Annotated[str, Added()] = Field("", description="Off-policy id, from weigh_log; empty: no log was weighed")
    robustness: Annotated[str, Added()] = Field("", description="Its robustness, as measure_robustness wrote it; empty: none")
    other_robustness: Annotated[str, Added()] = Field("", description="Robustness of what it is compared with; empty: none")
    measure: Literal["nDCG@10", "RR@10", "R@100", "AP", "P@10"] = Field(
        "nDCG@10", description="Measure of the main rule; another than this: instead of the file's"
    )
    margin: float = Field(
        0.02, gt=0, lt=1, description="Loss of the measure that counts as none; another than this: instead of the file's"
    )
    confidence: float = Field(
        0.95, ge=0.8, le=0.999, description="Confidence of the interval; another than this: instead of the file's"
    )
    power: float = Field(
        0.8, ge=0.5, le=0.99, description="Probability with which an equal challenger must pass; another: instead of the file's"
    )


class GateResult(Result):
    verdict: str
    release: str
    champion: str
    outcome: Literal["passed", "rejected", "undecided", "not comparable", "not run"]
    passed: bool
    asks: bool
    """Whether a person is asked, since the rules can't decide."""
    sentence: str
    margin: float
    note: str
    """The outcome in capitals and why, which becomes the dag run's note."""


def gate(params: GateParams) -> GateResult:
    """Decide whether a challenger may follow the champion: passed, rejected, undecided, not comparable or not run."""
    from pipelines.evaluation.record import Evaluation
    from pipelines.gates.evidence import gathered
    from pipelines.gates.staleness import other_version

    gate_file = _gate_file(params)
    store = open_store()
    evaluation = Evaluation(load(store, "evaluation", params.evaluation))
    baseline, anchor = (
        Evaluation(load(store, "evaluation", name)) if name else None for name in (params.baseline, params.anchor)
    )
    journal = Journal(store)
    champion = journal.routing.champion or ""
    made = {kind: load(store, kind, getattr(params, kind)) for kind in EVIDENCE if getattr(params, kind)}
    inputs = {"release": evaluation.release, "evaluation": evaluation.id} | ({"baseline": baseline.id} if baseline else {})
    robust = {name: load(store, "robustness", getattr(params, name)).id for name in ROBUSTNESS if getattr(params, name)}
    inputs |= robust | {kind: artifact.id for kind, artifact in made.items()}
    unnamed = {"evaluation", "baseline", "anchor", "gate_file", *EVIDENCE, *ROBUSTNESS}
    semantic = params.recipe_params(unnamed) | {"champion": champion}
    measured = [one.artifact.manifest.recipe for one in (evaluation, baseline) if one]
    of_before = params.gate_file == DEFAULT and any(map(other_version, measured))  # `promote` has these measured anew
    verdict = _earlier(store, inputs, semantic) if of_before else None
    if verdict is None:
        evidence = gathered(journal, evaluation, baseline, anchor, made, robust)
        ruled = {"rules": gate_file.digest, "anchor": evidence.anchor_release, "judged_before": evidence.judged_before}
        ruled |= {"waivers": [waiver.entry for waiver in evidence.waivers]} if evidence.waivers else {}
        inputs |= {"anchor": anchor.id} if anchor else {}
        recipe = Recipe(kind="verdict", step="gate", version=VERSION, inputs=inputs, params=semantic | ruled)
        told = {"gate_file": params.gate_file}  # where the rules were read, so that `promote` finds those of its day
        verdict = produce(store, recipe, lambda folder: _judge(gate_file, evidence, folder), told)
    return _result(verdict)


def _result(verdict: Artifact) -> GateResult:
    said = {key: verdict.facts[key] for key in ("outcome", "sentence", "release", "champion")}
    log().info("verdict", id=verdict.id, **said)
    body = verdict.json("verdict.json")
    outcome, sentence = said["outcome"], said["sentence"]
    return GateResult(
        verdict=verdict.id,
        passed=outcome == "passed",
        asks=bool(body.get("asks")),
        margin=body["margin"],
        note=f"{outcome.upper()}: {sentence.removeprefix(f'{outcome}: ')}",
        **said,
    )


def _gate_file(params: GateParams) -> "GateFile":
    """The gate file with the options that differ from their defaults instead of what it says."""
    from pipelines.gates.gate_file import rules_with_options

    defaults = {name: field.default for name, field in GateParams.model_fields.items()}
    return rules_with_options(params.gate_file, params.model_dump(), defaults)


def _earlier(store: Store, inputs: dict[str, str], semantic: dict[str, Any]) -> Artifact | None:
    """The verdict that was given on the same evaluations before there were gate files; it stays as it is."""
    recipe = Recipe(kind="verdict", step="gate", version=BEFORE_GATE_FILES, inputs=inputs, params=semantic)
    return find(store, "verdict", recipe.id)


def _judge(gate_file: "GateFile", evidence: "Evidence", folder: Path) -> dict[str, Any]:
    from pipelines.gates.changes import changed_parts
    from pipelines.gates.gate_file import GATE_FILE
    from pipelines.gates.judging import judge
    from pipelines.gates.pool_file import POOL_FILE, write_informative_pool
    from pipelines.reports.evidence import evidence_sections
    from pipelines.reports.verdict import write_verdict

    baseline = evidence.champion
    verdict, table, differences = judge(gate_file, evidence, changed_parts(evidence.evaluation, baseline))
    documents = baseline.documents() | evidence.evaluation.documents() if baseline and differences else {}
    write_verdict(folder, verdict, table, differences, documents, evidence_sections(gate_file, evidence))
    (folder / GATE_FILE).write_text(gate_file.model_dump_json(indent=1), encoding="utf-8")
    if any(rule.outcome == "not comparable" for rule in verdict.rules):
        write_informative_pool(folder / POOL_FILE, evidence)
    return {key: getattr(verdict, key) for key in ("outcome", "sentence", "release", "champion", "queries_digest")}
