"""Let the release serve again that served at a time.

The form takes the time, such as `2026-11-23T14:05`, and the environment, by default this store. Writes one journal entry, as a
rollback does, and waits for the server. A release of which a part was taken away is refused: the message names each part and
the step that makes it again. In place of one that held what was erased since comes the release that took its place for the
erasure.

## When it is red

- `restore`, a part is gone: run the steps that the message names, in its order; the ids are the same again. Then clear it.
- `restore`, the release held what was erased since, and none took its place: start `erase_subject`, or restore a later time.
- `restore`, the server does not follow: the entry stays. Read the server's log and `/readyz`, then clear the task.
- `reconcile`: only MLflow lags behind. Clear it once MLflow answers.
- Never copy files back under `blobs/` to make an erased person's release whole: the erasure was asked for.
"""

from airflow.sdk import DAG
from operators.assets import CHAMPION
from operators.form import ENVIRONMENT, answers, environment_field, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.restore import RestoreParams, restore
from pipelines.steps.promote_release.reconcile import reconcile

with DAG(
    "restore_release",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(RestoreParams, omit=("who",)) | environment_field(),
    doc_md=__doc__,
):
    restored = StepOperator(
        step=restore,
        step_params=answers(RestoreParams, omit=("who",)),
        outlets=[CHAMPION],
        emits="release",
        in_environment=ENVIRONMENT,
    )
    restored >> StepOperator(step=reconcile, in_environment=ENVIRONMENT)
