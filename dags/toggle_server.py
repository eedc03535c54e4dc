"""Change something of the search servers at once: whether they rerank, in how many milliseconds, how many results they give.

One journal entry, started by hand, which every server follows within two seconds; no release changes. A server whose setting
`RATCHET_FLAG_PROVIDER` names another provider of flags does what that one says. `undo` takes the last change back.

## When it is red

- `toggle`, before its entry: the value is none for that toggle; the message says which are.
- `toggle`, after its entry: the server did not follow in time. The entry stays; clear the task once the server answers.
- Clearing is safe: a cleared `toggle` finds its own entry and only waits again for the server.
- Nothing changes at a server: look at `ratchet_toggle` and `ratchet_toggle_errors_total` in its metrics.
- Never edit or delete a file of `journal/` to take a toggle back.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.toggle import ToggleParams, toggle

with DAG(
    "toggle_server",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(ToggleParams, omit=("who",)),
    doc_md=__doc__,
):
    StepOperator(step=toggle, step_params=answers(ToggleParams, omit=("who",)))
