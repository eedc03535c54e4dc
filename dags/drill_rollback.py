"""Try a rollback for real, once a week, and time it.

The champion before answers live queries for a moment, then the champion comes back: two journal entries say so. The report has
the times of every drill so far. It is skipped while a challenger waits, which a rollback would drop.

## When it is red

- `drill`, late or not reached: a rollback in an emergency would be, too. Its report says what was late; read the server's log.
- `drill`, the champion does not answer again: look at the page Releases; if the last entry is a rollback, clear the task.
- `drill`, the server does not answer with the champion: nothing was tried. `/readyz` says why.
- `drill`, interrupted: its try was told to stop, and the champion is back. Trigger the DAG again: cleared, it says the same.
- Clearing is safe: a cleared `drill` finds its own entry and brings the champion back. A red drill pages.
- Never pause this DAG because it is red: it is the only proof that a rollback works today.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.paging import pager
from operators.schedules import WEEKLY, over_within
from operators.step import StepOperator

from pipelines.steps.deploy_release.drill import DrillParams, drill

OMITTED = ("who", "triggered")
TRIGGERED = "{{ (dag_run.start_date or dag_run.run_after).isoformat() }}"  # a run that is late or cleared starts anew

with DAG(
    "drill_rollback",
    schedule=WEEKLY,
    deadline=over_within(hours=2),
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(DrillParams, omit=OMITTED),
    doc_md=__doc__,
):
    StepOperator(
        step=drill,
        step_params={**answers(DrillParams, omit=OMITTED), "triggered": TRIGGERED},
        on_failure_callback=pager(),
    )
