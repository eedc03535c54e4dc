"""Export the journal once a week, and find entries that were removed or altered since an earlier export.

The export is a report with every entry: who did what, when, and why. It stays in the store; its seal, kept elsewhere, tells
any later change. `pseudonyms` makes one for people outside.

## When it is red

- `audit`, an entry is another or missing: nothing else is broken, search serves. Find who changed it; restore it from a backup.
- `audit`, an export can't be read: the message names it. Restore it from a backup; the journal was not judged.
- `audit`, no key of pseudonyms: `python -m images.serve users rotate` makes one. Clearing is safe: nothing is written twice.
- Never delete an export to make this DAG green: it is the only witness of the last entry.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.paging import pager
from operators.schedules import WEEKLY, over_within
from operators.step import StepOperator

from pipelines.steps.look.audit import AuditParams, audit

with DAG(
    "audit_journal",
    schedule=WEEKLY,
    deadline=over_within(hours=12),
    catchup=False,
    max_active_runs=1,
    tags=["journal"],
    default_args={"owner": "search"},
    params=form(AuditParams, omit=("to", "against")),
    doc_md=__doc__,
):
    StepOperator(step=audit, step_params=answers(AuditParams, omit=("to", "against")), on_failure_callback=pager())
