"""Let the challenger take the traffic: at once, or by evidence.

`direct`: as soon as the server has it in memory, by one journal entry; if the server does not follow, the champion before is
put back. `canary`: unseen beside the champion, then 1, 5, 25, 50 % of the users, then all; `judge_canary` looks each minute at
what servers counted, goes back at harm, and asks a person where searches are too few; `judge_while_asked` looks on. Between
looks they wait without a worker. No restart in either. A promotion starts it in the mode of RATCHET_DEPLOY_MODE.

## When it is red

- Look at the page Releases first: which release is champion, which share has a challenger, and is the last entry a rollback?
- `judge_canary` names what is wrong. With no users yet, mend it and clear the task: no champion (use `direct`), a guardrail's
  signal that is missing (or name it in `without`), a release that was found harmful (promote it by `again`), somebody's split
  (end it by `split_traffic`, share 0), features that aren't online (start `materialize_features`), damaged counts (move the
  file away). Later, and for `judge_while_asked`, `ask`, `end_canary`: it keeps its share, and nobody looks: clear or end it.
- `deploy`, before its entry: a server can't load the challenger (`/readyz` with the key and its log say why), features aren't
  online, another release is the challenger by now, or it has users by a deployment that has not passed (go on in mode canary,
  or end it). After it: a server did not follow; the message says what was done.
- `reconcile`: only MLflow or Feast lags behind. Clear it once they answer; nothing that serves depends on it.
- Clearing is safe while no later entry routes: a task goes on with its own entry. After that, start a new dag run.
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
    looks = {**answers(JudgeCanaryParams, omit=("who", "only_back")), "release": answer_or_event("release")}
    again = {"repeats_if": "waits", "ends_if": "over", "retries": 1000}
    judged = StepOperator(step=judge_canary, step_params=looks, runs_if=CANARY, **again)
    asks = "{{ ti.xcom_pull(task_ids='judge_canary', key='asks') or '' }}"
    question = "{{ ti.xcom_pull(task_ids='judge_canary', key='question') or '' }}"
    asked = AskBefore(subject=question, told=judged, asks=asks, trigger_rule="none_failed")
    release = {"release": answer_or_event("release", judged_by="judge_canary")}
    back = {**looks, **release, "only_back": True}
    meanwhile = {"task_id": "judge_while_asked", "ends_too": "ask", **again}
    judged >> StepOperator(step=judge_canary, step_params=back, runs_if=asks, **meanwhile)
    why = "{{ [ti.xcom_pull(task_ids='judge_canary', key='note'), params.why] | select | join('; ') }}"
    named = {**answers(DeployParams, omit=("who",)), **release, "why": why, "who": answered_by(asked)}
    emitted = {"outlets": [CHAMPION], "emits": "release", "only_if": "changed", "also": {"judgments": JUDGMENTS}}
    deployed = StepOperator(step=deploy, step_params=named, trigger_rule="none_failed", **emitted)
    no = {"share": 0, "why": f"the answer was no: {question}", "who": answered_by(asked)}
    ended = StepOperator(step=split, task_id="end_canary", step_params=no, runs_if=CANARY, trigger_rule="none_failed")
    asked >> deployed >> [ended, StepOperator(step=reconcile)]
