"""Let the challenger answer a share of the users, to compare it with the champion by what they click.

One journal entry, started by hand. Users are assigned by a hash of the experiment's name and their id: the same on every server
and after restarts, and whoever has the challenger keeps it while the share grows. Searches without a user get the champion.
`analyze_experiment` reads the result by the log `server:NAME`. A share of 0 ends it; so do a deployment and a rollback.

## When it is red

- `split`, no challenger: promote a release first, with `deploy_release` paused, which would make it champion for everybody.
- `split`, before its entry: the server can't load the challenger. `/readyz` with the key says why; so does the server's log.
- `split`, after its entry: the server did not follow in time. The entry stays; clear the task once the server answers.
- Clearing is safe: a cleared `split` finds its own entry and only waits again for the server.
- The challenger does harm: start this DAG again with share 0. That takes a second, and no restart.
- Never edit or delete a file of `journal/` to end a split.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.split import SplitParams, split

with DAG(
    "split_traffic",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal", "experiments"],
    default_args={"owner": "search"},
    params=form(SplitParams, omit=("who",)),
    doc_md=__doc__,
):
    StepOperator(step=split, step_params=answers(SplitParams, omit=("who",)))
