"""Take away what no release needs any more, after a person has said yes.

Once a week, a dry run lists what would go; the note says how much. Then the dag run waits for an answer, which has no default.
What is taken away lies in the store's trash until a later run; its recipe stays, so that it can be made again.

## When it is red

- `dry_run`, `gc`, a manifest can't be read: the message names it. Nothing was taken away. Restore or delete that manifest.
- `dry_run`, artifacts of a newer version: upgrade Ratchet here, then start the DAG again.
- `ask` waits, not red: answer it under Required Actions, or mark the dag run failed; nothing is taken away without a yes.
- Clearing `gc` is safe: it goes on with what is left. Ages count up to the dry run, so what is younger stays.
- Never delete files under `blobs/` by hand: artifacts share them.
"""

from airflow.sdk import DAG
from operators.approval import AskBefore
from operators.form import answers, form
from operators.schedules import WEEKLY, over_within
from operators.step import StepOperator

from pipelines.steps.look.gc import GcParams, gc

OMITTED = ("dry_run", "as_of")

with DAG(
    "collect_garbage",
    schedule=WEEKLY,
    deadline=over_within(days=6),
    catchup=False,
    max_active_runs=1,
    tags=["store"],
    default_args={"owner": "search"},
    params=form(GcParams, omit=OMITTED),
    doc_md=__doc__,
):
    ages = answers(GcParams, omit=OMITTED)
    listed = StepOperator(step=gc, task_id="dry_run", step_params={**ages, "dry_run": True}, ends_if="nothing")
    asked = AskBefore(subject="May this be taken away?", told=listed)
    asked >> StepOperator(step=gc, step_params={**ages, "dry_run": False, "as_of": listed.output["as_of"]})
