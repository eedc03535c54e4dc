"""check_bias: whether a release is worse in some segment, or shows a few providers more, than what it is compared with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.gates.evidence import Evidence
    from pipelines.gates.gate_file import Rule
    from pipelines.gates.verdict import RuleVerdict

VERSION = 1


class CheckBiasParams(Params):
    evaluation: str = Field(description="Evaluation id of the release")
    baseline: str = Field("", description="Evaluation id of the champion on the same queries; empty: the first baseline")
    by: str = Field(
        "segment",
        min_length=1,
        max_length=100,
        description="What divides: segment, query_length, head_tail, or a facet of the documents",
    )
    measure: Literal["nDCG@10", "RR@10", "R@100", "AP", "P@10"] = Field("nDCG@10", description="Measure that is compared")
    margin: float = Field(0.3, gt=0, lt=1, description="Loss of the measure in a segment that counts as none")
    least_queries: int = Field(30, ge=2, description="Queries that a segment must have to be judged")
    concentration: float = Field(0.05, gt=0, lt=1, description="Rise of the exposure's Gini coefficient that counts as none")
    confidence: float = Field(0.95, ge=0.8, le=0.999, description="Confidence of the intervals")


class CheckBiasResult(Result):
    report: str
    release: str
    passed: bool
    sentences: list[str]
    """What each rule says; the first is on segments."""
    found: bool


def check_bias(params: CheckBiasParams) -> CheckBiasResult:
    """Compare a release in every segment, and who is shown; exit 2 unless all rules pass, with a report in any case."""
    from pipelines.evaluation.comparison import check_comparable
    from pipelines.evaluation.record import Evaluation
    from pipelines.gates.evidence import Evidence

    store = open_store()
    evaluation = Evaluation(load(store, "evaluation", params.evaluation))
    baseline = Evaluation(load(store, "evaluation", params.baseline)) if params.baseline else None
    if baseline is not None:
        check_comparable(evaluation, baseline)
    inputs = {"release": evaluation.release, "evaluation": evaluation.id} | ({"baseline": baseline.id} if baseline else {})
    champion = Journal(store).routing.champion or ""  # the report names it so
    semantic = params.recipe_params({"evaluation", "baseline"}) | {"champion": champion}
    recipe = Recipe(kind="report", step="check_bias", version=VERSION, inputs=inputs, params=semantic)
    evidence = Evidence(evaluation, champion, baseline)
    report = produce(store, recipe, lambda folder: _check(params, evidence, folder))
    for sentence in report.facts["sentences"]:
        log().info("bias", report=report.id, found=sentence)
    if not report.facts["passed"]:
        raise InputError(
            f"release {evaluation.release}: {'; '.join(report.facts['failures'])}",
            "no segment and no provider that it treats worse",
            f"read report {report.id} (report.html of {report.uri})",
        )
    return CheckBiasResult(
        report=report.id,
        release=evaluation.release,
        passed=True,
        sentences=report.facts["sentences"],
        found=report.found,
    )


def _check(params: CheckBiasParams, evidence: "Evidence", folder: Path) -> dict[str, Any]:
    from pipelines.evaluation.segments import QUERY_FIELDS
    from pipelines.gates.gate_file import Rule
    from pipelines.reports.bias import write_bias_report

    shared = {"by": params.by, "level": params.confidence}
    segments = {"name": "segments", "comparison": "segments", "measure": params.measure, "margin": params.margin}
    rules = [Rule(**segments, **shared, least_queries=params.least_queries)]
    if params.by not in QUERY_FIELDS:
        rules.append(Rule(name="exposure", comparison="exposure", margin=params.concentration, **shared))
    verdicts = [_judged(rule, evidence) for rule in rules]
    write_bias_report(folder, rules, verdicts, evidence)
    failures = [verdict.sentence for verdict in verdicts if verdict.outcome != "passed"]
    return {"passed": not failures, "sentences": [verdict.sentence for verdict in verdicts], "failures": failures}


def _judged(rule: "Rule", evidence: "Evidence") -> "RuleVerdict":
    """The rule's verdict; what it can't be judged by is not run, which never passes."""
    from pipelines.gates.evidence import verdict_of
    from pipelines.gates.judging import JUDGES

    try:
        return JUDGES[rule.comparison](rule, evidence)
    except InputError as error:
        return verdict_of(rule, "not run", f"{error.given}; expected {error.expected}", next=error.next_action)
