"""Hold the champion to what it did when it was promoted, once a day.

Evaluates the champion on the judged queries of today's corpus and compares it with the evaluation of its promotion, by the
rules of a policy: **degraded**, held, undecided or not run. A degraded champion starts what the policy says, at most once in a
cool-down: a page to a person, `rollback_release`, `refresh_embeddings` on today's corpus (with `re-index` its index is trained
anew), `build_recommender`. A drift may start this DAG, too, by its policy's `re-judge`.

## When it is red

- Red is never a degraded champion: that is a green run with the note DEGRADED. Read the last line of the red task's log.
- `find_champion`, `evaluate`: the message names the artifact that can't be read. Without a champion they are skipped.
- `judge_degradation`: the policy's file can't be read, or names a measure that there is none of. Correct it, clear the task.
- `re_index`, `re_embed`, `rebuild`, `page`, `roll_back`: another run wrote the journal first. Clear it: what was started stays
  started.
- Never delete a journal entry to end a cool-down: start by hand what it would start. Never raise a `margin` to silence a page.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule
from operators.assets import REJUDGE
from operators.form import answer_or_event, answers, form
from operators.repairs import start_repairs
from operators.schedules import DAILY, over_within
from operators.step import StepOperator

from pipelines.steps.check_degradation.find_champion import FindChampionParams, find_champion
from pipelines.steps.check_degradation.judge_degradation import JudgeDegradationParams, judge_degradation
from pipelines.steps.check_degradation.start_repair import start_repair
from pipelines.steps.evaluate_release.evaluate import evaluate

with DAG(
    "check_degradation",
    schedule=AssetOrTimeSchedule(timetable=DAILY, assets=[REJUDGE]),
    deadline=over_within(hours=12),
    catchup=False,
    max_active_runs=1,
    tags=["release", "evaluation"],
    default_args={"owner": "search"},
    params=form(JudgeDegradationParams, FindChampionParams, omit=("evaluation", "promotion")),
    doc_md=__doc__,
):
    champion = StepOperator(
        step=find_champion, step_params={**answers(FindChampionParams), "corpus": answer_or_event("corpus")}
    )
    asked = {name: champion.output[name] for name in ("release", "corpus", "split", "no_relevant", "depth")}
    today = StepOperator(step=evaluate, step_params={**asked, "baseline": "none"})
    policy = "{{ params.policy or var.value.get('check_degradation_policy', '') }}"
    judged = StepOperator(
        step=judge_degradation,
        step_params={"evaluation": today.output["evaluation"], "promotion": champion.output["promotion"], "policy": policy},
        ends_if="nothing_due",
    )
    start_repairs(judged, "degradation", start_repair, ("page", "roll back", "re-index", "re-embed", "rebuild"))
