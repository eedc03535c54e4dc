"""Hold MLflow to the journal, every hour.

Every promoted release is a version; the aliases champion, challenger and previous point where the journal says. What differs
is told in the note and mended: an alias that was moved by hand, a version that an outage of MLflow left out.

## When it is red

- `reconcile`, MLflow does not answer: start it. The next run mends what it missed; nothing that serves depends on it.
- `reconcile`, versions of somebody else: set `RATCHET_MLFLOW_MODEL` to a free name. Nothing of theirs was changed.
- `reconcile` skipped, not red: `RATCHET_MLFLOW_URI` is not set.
- Never move an alias by hand to change what serves: promote, deploy or roll back, and the alias follows.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.schedules import HOURLY, over_within
from operators.step import StepOperator

from pipelines.steps.promote_release.reconcile import ReconcileParams, reconcile

with DAG(
    "reconcile_registry",
    schedule=HOURLY,
    deadline=over_within(hours=1),
    catchup=False,
    max_active_runs=1,
    tags=["journal"],
    default_args={"owner": "search"},
    params=form(ReconcileParams),
    doc_md=__doc__,
):
    StepOperator(step=reconcile, step_params=answers(ReconcileParams))
