"""Let the previous champion serve again.

One journal entry, timed until the server follows. Started by hand: the form may name another earlier champion, and asks
why, which the journal keeps.
"""

from airflow.sdk import DAG
from operators.assets import CHAMPION
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.rollback import RollbackParams, rollback
from pipelines.steps.promote_release.reconcile import reconcile

with DAG(
    "rollback_release",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(RollbackParams, omit=("who",)),
    doc_md=__doc__,
):
    rolled_back = StepOperator(
        step=rollback, step_params=answers(RollbackParams, omit=("who",)), outlets=[CHAMPION], emits="release"
    )
    rolled_back >> StepOperator(step=reconcile)
