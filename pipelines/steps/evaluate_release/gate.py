"""gate: an evaluation and the champion's become a verdict."""

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
    from pipelines.evaluation.record import Evaluation

VERSION = 3


class GateParams(Params):
    evaluation: str = Field(description="Evaluation id of the challenger")
    baseline: str = Field("", description="Evaluation id of the champion on the same queries; empty: there is none")
    measure: Literal["nDCG@10", "RR@10", "R@100", "AP", "P@10"] = Field("nDCG@10", description="Measure that decides")
    margin: float = Field(0.02, gt=0, lt=1, description="Loss of the measure that counts as none")
    confidence: float = Field(0.95, ge=0.8, le=0.999, description="Confidence of the interval")
    power: float = Field(0.8, ge=0.5, le=0.99, description="Probability with which an equal challenger must pass")


class GateResult(Result):
    verdict: str
    release: str
    champion: str
    outcome: Literal["passed", "rejected", "undecided", "not run"]
    passed: bool
    sentence: str
    margin: float
    note: str
    """The outcome in capitals and why, which becomes the dag run's note."""


def gate(params: GateParams) -> GateResult:
    """Decide whether a challenger may follow the champion: passed, rejected, undecided or not run."""
    from pipelines.evaluation.record import Evaluation

    store = open_store()
    evaluation = Evaluation(load(store, "evaluation", params.evaluation))
    baseline = Evaluation(load(store, "evaluation", params.baseline)) if params.baseline else None
    champion = Journal(store).routing.champion or ""
    inputs = {"release": evaluation.release, "evaluation": evaluation.id} | ({"baseline": baseline.id} if baseline else {})
    semantic = params.recipe_params({"evaluation", "baseline"}) | {"champion": champion}
    recipe = Recipe(kind="verdict", step="gate", version=VERSION, inputs=inputs, params=semantic)
    verdict = produce(store, recipe, lambda folder: _judge(evaluation, baseline, champion, params, folder))
    log().info("verdict", id=verdict.id, **verdict.facts)
    outcome, sentence = verdict.facts["outcome"], verdict.facts["sentence"]
    return GateResult(
        verdict=verdict.id,
        passed=outcome == "passed",
        margin=params.margin,
        note=f"{outcome.upper()}: {sentence.removeprefix(f'{outcome}: ')}",
        **verdict.facts,
    )


def _judge(
    evaluation: "Evaluation", baseline: "Evaluation | None", champion: str, params: GateParams, folder: Path
) -> dict[str, Any]:
    from pipelines.gates.rules import Rule, judge_alone, judge_pair
    from pipelines.reports.verdict import write_verdict

    rule = Rule(**params.model_dump(exclude={"evaluation", "baseline"}))
    if baseline is not None and evaluation.release != champion:
        verdict, table, differences = judge_pair(evaluation, baseline, champion, rule)
    elif champion in ("", evaluation.release):
        verdict, table, differences = judge_alone(evaluation, champion, rule)
    else:
        raise InputError(
            f"evaluation {evaluation.id} without a baseline while {champion} is champion",
            "the champion's evaluation on the same queries",
            f"run `python -m pipelines evaluate --release {evaluation.release}` and pass both ids it gives",
        )
    documents = baseline.documents() | evaluation.documents() if baseline and differences else {}
    write_verdict(folder, verdict, table, differences, documents)
    return {key: getattr(verdict, key) for key in ("outcome", "sentence", "release", "champion")}
