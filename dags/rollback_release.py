"""Let the previous champion serve again.

One journal entry, timed until the server follows. Started by hand: the form may name another earlier champion and an
environment (by default this store), and asks why, which the journal keeps. A degraded champion starts it, too, where the policy
of `check_degradation` says so.

## When it is red

- `rollback`, no release to go back to: the message lists the earlier champions; start again with one of them in `to`.
- `rollback`, a part of the release can't be read: roll back to another champion by `to`; the message names the file.
- `rollback`, the server does not follow: the entry stays. Read the server's log and `/readyz`, then clear the task.
- `reconcile`: only MLflow lags behind. Clear it once MLflow answers.
- Clearing is safe: a cleared `rollback` finds its own entry and only waits again for the server.
- Never edit or delete a file of `journal/` to undo an entry: deploy or roll back once more.
"""

from airflow.sdk import DAG
from operators.assets import CHAMPION, ROLLBACK
from operators.form import ENVIRONMENT, answer_or_event, answers, environment_field, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.rollback import RollbackParams, rollback
from pipelines.steps.promote_release.reconcile import reconcile

with DAG(
    "rollback_release",
    schedule=[ROLLBACK],
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(RollbackParams, omit=("who",)) | environment_field(),
    doc_md=__doc__,
):
    rolled_back = StepOperator(
        step=rollback,
        step_params={**answers(RollbackParams, omit=("who",)), "why": answer_or_event("why")},
        outlets=[CHAMPION],
        emits="release",
        in_environment=ENVIRONMENT,
    )
    rolled_back >> StepOperator(step=reconcile, in_environment=ENVIRONMENT)
