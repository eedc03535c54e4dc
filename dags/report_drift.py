"""Say what of a day's data is beyond what quiet days show, and what is to be done about it, once a day.

Takes a snapshot of the documents (the newest state of the champion's collection) and of the searches of the day before the
dag run, which is over, and judges it beside the days before that: **quiet**, watch or act, for embeddings, tokens, segments
and quality. `act` starts what the policy says, at most once in a cool-down: a page to a person, `refresh_embeddings` on the
newest corpus (with `re-index` its index is trained anew), `check_degradation`, `build_recommender`, `rollback_release`.

## When it is red

- Red is never a drift: that is a green run with the note ACT or WATCH. Read the last line of the red task's log.
- `find_reference`: the message names the artifact that can't be read. Without a champion all is skipped.
- `reference_snapshot`, `take_snapshot`: the log or a column can't be read, or vectors are not of length 1; it says which.
- `judge_drift`: the policy's file can't be read, or a key is none. Correct it, clear the task.
- `re_index`, `re_embed`, `re_judge`, `rebuild`, `page`, `roll_back`: another run wrote the journal first. Clear it: what was
  started stays started.
- Never raise a size in the policy to silence a page before the report's examples were looked at.
"""

from airflow.sdk import DAG, Param
from operators.form import answers, form
from operators.repairs import start_repairs
from operators.schedules import DAILY, over_within
from operators.step import StepOperator

from pipelines.steps.check_degradation.start_repair import start_repair
from pipelines.steps.report_drift.find_reference import FindReferenceParams, find_reference
from pipelines.steps.report_drift.judge_drift import JudgeDriftParams, judge_drift
from pipelines.steps.report_drift.take_snapshot import TakeSnapshotParams, take_snapshot

OWN = ("release", "encoder", "variant", "corpus", "day", "series")
with DAG(
    "report_drift",
    schedule=DAILY,
    deadline=over_within(hours=12),
    catchup=False,
    max_active_runs=1,
    tags=["data", "drift"],
    default_args={"owner": "search"},
    params={
        **form(JudgeDriftParams, TakeSnapshotParams, FindReferenceParams, omit=("current", "reference", *OWN[:3], "series")),
        "reference_log": Param("", type=["string", "null"], description="Searches to compare with before there are 14 days"),
    },
    doc_md=__doc__,
):
    # The last day that is over when the run begins: so a cleared run keeps its day.
    day = "{{ params.day or (dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d') }}"
    found = StepOperator(step=find_reference, step_params={**answers(FindReferenceParams), "day": day})
    own = {"release": found.output["release"], "sample": "{{ params.sample }}", "seed": "{{ params.seed }}"}
    asked = answers(TakeSnapshotParams, omit=(*OWN, "sample", "seed"))
    log = "{{ params.log or var.value.get('report_drift_log', '') }}"
    log_then = "{{ params.reference_log or var.value.get('report_drift_reference_log', '') }}"
    then = {**asked, **own, "log": log_then, "corpus": found.output["reference"], "day": found.output["promoted"]}
    before = StepOperator(step=take_snapshot, task_id="reference_snapshot", step_params=then)
    today = {**asked, **own, "log": log, "series": "daily"}
    now = StepOperator(step=take_snapshot, step_params={**today, "corpus": found.output["corpus"], "day": found.output["day"]})
    policy = "{{ params.policy or var.value.get('report_drift_policy', '') }}"
    compared = {"current": now.output["snapshot"], "reference": before.output["snapshot"], "policy": policy}
    compared["evidently"] = "{{ params.evidently }}"
    judged = StepOperator(step=judge_drift, step_params=compared, ends_if="nothing_due")
    start_repairs(judged, "drift", start_repair, ("page", "roll back", "re-judge", "re-index", "re-embed", "rebuild"))
