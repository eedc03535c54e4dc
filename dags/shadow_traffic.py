"""Let the challenger rank searches that the champion answers, to compare the two before anybody sees it.

One journal entry, started by hand. Each server ranks a share of its searches a second time once their answers were sent, and
only while no user waits. `/metrics` has the counts (`ratchet_shadow_…`), `shadow.jsonl` a line for each search. A share of 0
ends it; so do a deployment, a rollback and another challenger.

## When it is red

- `shadow`, no challenger: promote a release first, with `deploy_release` paused, which would make it champion for everybody.
- `shadow`, before its entry: the server can't load the challenger. `/readyz` with the key says why; so does the server's log.
- `shadow`, after its entry: the server did not follow in time. The entry stays; clear the task once the server answers.
- Clearing is safe: a cleared `shadow` finds its own entry and only waits again for the server.
- Never edit or delete a file of `journal/` to end a shadow.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.shadow import ShadowParams, shadow

with DAG(
    "shadow_traffic",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal", "experiments"],
    default_args={"owner": "search"},
    params=form(ShadowParams, omit=("who",)),
    doc_md=__doc__,
):
    StepOperator(step=shadow, step_params=answers(ShadowParams, omit=("who",)))
