"""Name a release with a passing verdict, or one that a person waived, the challenger.

Writes the journal's next entry and shows it in MLflow. Refuses any other verdict, and one that compared with a release that is
no longer the champion, or that rests on rules or code of before. With `approval` a person is asked first, and the journal names
who said yes. A challenger starts `deploy_release`, also when an earlier run named it; a champion does not.

## When it is red

- `ask` waits, not red: `approval` was ticked. Answer it under Required Actions; a no promotes nothing. `promote` waits, up for
  retry, while a deployment by evidence runs, a day at most.
- `promote`, verdict refused: start `evaluate_release` with the release's index; it is judged against today's champion.
  While a split runs (`split_traffic`), no other release is promoted: deploy its challenger or end it, then clear `promote`.
- `promote` skipped, not red: it was rolled back, or found harmful, before. The page Releases says why; `again` promotes it.
- `reconcile`: MLflow does not answer or was changed by hand. The journal holds; clear `reconcile` once MLflow is back.
- Clearing is safe: a cleared `promote` finds the journal entry that its dag run wrote and writes no second one.
- Never edit or delete a file of `journal/`, and never move an MLflow alias by hand: the next `reconcile` moves it back.
"""

from airflow.sdk import DAG, Param
from operators.approval import AskBefore, answered_by
from operators.assets import CHALLENGER, VERDICT
from operators.form import answer_or_event, answers, form
from operators.step import StepOperator

from pipelines.steps.promote_release.promote import PromoteParams, promote
from pipelines.steps.promote_release.reconcile import reconcile

VERDICT_ID = answer_or_event("verdict")
APPROVAL = Param(
    False, type="boolean", title="Approval", description="Whether a person is asked before the release is promoted"
)

with DAG(
    "promote_release",
    schedule=[VERDICT],
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(PromoteParams, omit=("who",)) | {"approval": APPROVAL},
    doc_md=__doc__,
):
    asked = AskBefore(
        subject="May this release be promoted?",
        body=f"[Report of the verdict](/ratchet/reports/verdict/{VERDICT_ID})",
        asks="{{ params.approval or '' }}",
    )
    promoted = StepOperator(
        step=promote,
        step_params={**answers(PromoteParams, omit=("who",)), "verdict": VERDICT_ID, "who": answered_by(asked)},
        outlets=[CHALLENGER],
        emits="release",
        only_if="challenger",
        retries=300,
    )
    asked >> promoted >> StepOperator(step=reconcile)
