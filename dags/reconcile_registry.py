"""Hold MLflow and Feast to the journal, every hour.

Every promoted release is a version; the aliases champion, challenger and previous point where the journal says. What the
champion and the challenger read of features is online as in the store, and their feature services say so. What differs is told
in the note and mended: an alias that was moved by hand, a version that an outage of MLflow left out, an emptied online store, a
feature service that somebody deleted or changed.

## When it is red

- `reconcile`, MLflow does not answer: start it. The next run mends what it missed; nothing that serves depends on it.
- `reconcile`, versions of somebody else: set `RATCHET_MLFLOW_MODEL` to a free name. Nothing of theirs was changed.
- `reconcile`, a database of features does not answer, or another run changes them: the next run mends what it missed.
- `reconcile` green, but its note says DIFFERS: what only `materialize_features` can put right; the note has what to start.
- `reconcile` skipped, not red: `RATCHET_MLFLOW_URI` is not set, and no release reads features.
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
