"""judge_degradation: the champion's evaluation of today beside that of its promotion, by the rules of a policy."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.evaluation.record import Evaluation
    from pipelines.gates.policy import Policy

VERSION = 1


class JudgeDegradationParams(Params):
    evaluation: str = Field(description="Evaluation id of the champion, of today")
    promotion: str = Field(description="Evaluation id of the champion that its promotion's verdict names")
    policy: str = Field("", description="YAML file with the rules, and what each starts; empty: the shipped one")


class JudgeDegradationResult(Result):
    degradation: str
    release: str
    outcome: Literal["degraded", "held", "undecided", "not run"]
    sentence: str
    repairs: list[str]
    """What the policy says is to start."""
    nothing_due: bool
    note: str
    """The outcome in capitals and why, which becomes the dag run's note."""
    found: bool


def judge_degradation(params: JudgeDegradationParams) -> JudgeDegradationResult:
    """Say whether the champion still does what it did when it was promoted, and what the policy starts where it does not."""
    from pipelines.evaluation.record import Evaluation
    from pipelines.gates.policy import read_policy

    store = open_store()
    policy = read_policy(params.policy)
    today, promotion = (Evaluation(load(store, "evaluation", name)) for name in (params.evaluation, params.promotion))
    inputs = {"evaluation": today.id, "promotion": promotion.id}
    semantic = {"policy": policy.model_dump(mode="json")}
    recipe = Recipe(kind="degradation", step="judge_degradation", version=VERSION, inputs=inputs, params=semantic)
    judged = produce(store, recipe, lambda folder: _judge(promotion, today, policy, folder))
    facts = judged.facts
    (log().warning if facts["repairs"] else log().info)(facts["sentence"], degradation=judged.id)
    outcome = facts["outcome"]
    return JudgeDegradationResult(
        degradation=judged.id,
        nothing_due=not facts["repairs"],
        note=f"{outcome.upper()}: {facts['sentence'].removeprefix(f'{outcome}: ')}",
        found=judged.found,
        **{key: facts[key] for key in ("release", "outcome", "sentence", "repairs")},
    )


def _judge(promotion: "Evaluation", today: "Evaluation", policy: "Policy", folder: Path) -> dict[str, Any]:
    from pipelines.gates.degradation import judge_degradation as judge
    from pipelines.reports.degradation import write_degradation_report

    degradation = judge(promotion, today, policy)
    content = degradation.model_dump(mode="json")
    (folder / "degradation.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    write_degradation_report(folder, degradation, policy)
    kept = {key: content[key] for key in ("outcome", "sentence", "release", "corpus", "repairs")}
    return {**kept, "cool_down_hours": policy.cool_down_hours}
