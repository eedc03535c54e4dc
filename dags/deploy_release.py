"""Let the challenger take the traffic: at once, or by evidence.

`direct`: as soon as the server has it in memory, by one journal entry; if the server does not follow, the champion before is
put back. `canary`: unseen beside the champion, then 1, 5, 25, 50 % of the users, then all; `judge_canary` looks each minute at
what servers counted, goes back at harm, and asks a person where searches are too few; `judge_while_asked` looks on. Between
looks they wait without a worker. No restart in either. A promotion starts it in the mode of RATCHET_DEPLOY_MODE.

## When it is red

- Look at the page Releases first: which release is champion, which share has a challenger, and is the last entry a rollback?
- `judge_canary`, a guardrail without a signal: nothing was changed; mend it, or name it in `without`. Else the challenger keeps
  its share: clear the task, or end it by `split_traffic` with share 0. The same for `judge_while_asked`, `ask`, `end_canary`.
- `deploy`, before its entry: the server can't load the challenger, `/readyz` with the key says why; so does the server's log.
  Or features that the challenger reads are not online as in the store: start `materialize_features` with it, then this again.
  After its entry: the server did not follow, and the message says what was done. Start `rollback_release` if needed.
- `reconcile`: only MLflow or Feast lags behind. Clear it once they answer; nothing that serves depends on it.
- Clearing is safe while no later entry routes: a cleared task goes on with its own entry. After that, start a new dag run.
- Never edit or delete a file of `journal/`. Never restart servers to force a release: they follow the journal.
"""

from airflow.sdk import DAG
from operators.approval import AskBefore, answered_by
from operators.assets import CHALLENGER, CHAMPION, JUDGMENTS
from operators.form import CANARY, answer_or_event, answers, form, mode_field
from operators.step import StepOperator

from pipelines.steps.deploy_release.deploy import DeployParams, deploy
from pipelines.steps.deploy_release.judge_canary import JudgeCanaryParams, judge_canary
from pipelines.steps.deploy_release.split import split
from pipelines.steps.promote_release.reconcile import reconcile

with DAG(
    "deploy_release",
    schedule=[CHALLENGER],
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=mode_field() | form(JudgeCanaryParams, DeployParams, omit=("who", "only_back")),
    doc_md=__doc__,
):
    release = {"release": answer_or_event("release")}
    looks = {**answers(JudgeCanaryParams, omit=("who", "only_back")), **release}
    again = {"repeats_if": "waits", "ends_if": "over", "retries": 100}
    judged = StepOperator(step=judge_canary, step_params=looks, runs_if=CANARY, **again)
    asks = "{{ ti.xcom_pull(task_ids='judge_canary', key='asks') or '' }}"
    asked = AskBefore(subject="May all users have it, with fewer searches?", told=judged, asks=asks, trigger_rule="none_failed")
    back = {**looks, "only_back": True}
    meanwhile = {"task_id": "judge_while_asked", "ends_too": "ask", **again}
    judged >> StepOperator(step=judge_canary, step_params=back, runs_if=asks, **meanwhile)
    why = "{{ params.why or ti.xcom_pull(task_ids='judge_canary', key='note') or '' }}"
    named = {**answers(DeployParams, omit=("who",)), **release, "why": why, "who": answered_by(asked)}
    emitted = {"outlets": [CHAMPION], "emits": "release", "only_if": "changed", "also": {"judgments": JUDGMENTS}}
    deployed = StepOperator(step=deploy, step_params=named, trigger_rule="none_failed", **emitted)
    ended = StepOperator(step=split, task_id="end_canary", step_params={"share": 0}, runs_if=CANARY, trigger_rule="none_failed")
    asked >> deployed >> [ended, StepOperator(step=reconcile)]
