"""Let the challenger take the traffic.

Waits until the server has the challenger in memory, makes it **champion** with one journal entry and watches the server
follow. If it does not follow in time, the champion before it is put back. No restart: the champion before stays warm.
Where people have judged other pairs since the champion before, `build_encoder` and `build_reranker` start (**judgments**).

## When it is red

- Look at the page Releases first: which release is champion, and is the last entry a rollback by this run?
- `deploy`, before its entry: the server can't load the challenger. `/readyz` with the key says why; so does the server's log.
- `deploy`, after its entry: the server did not follow, and the message says what was done. Start `rollback_release` if needed.
- `reconcile`: only MLflow lags behind. Clear it once MLflow answers; nothing that serves depends on it.
- Clearing is safe while no later entry routes: a cleared `deploy` goes on with its own entry. After that, start a new dag run.
- Never edit or delete a file of `journal/`. Never restart servers to force a release: they follow the journal.
"""

from airflow.sdk import DAG
from operators.assets import CHALLENGER, CHAMPION, JUDGMENTS
from operators.form import answer_or_event, answers, form
from operators.step import StepOperator

from pipelines.steps.deploy_release.deploy import DeployParams, deploy
from pipelines.steps.promote_release.reconcile import reconcile

with DAG(
    "deploy_release",
    schedule=[CHALLENGER],
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(DeployParams, omit=("who",)),
    doc_md=__doc__,
):
    deployed = StepOperator(
        step=deploy,
        step_params={**answers(DeployParams, omit=("who",)), "release": answer_or_event("release")},
        outlets=[CHAMPION],
        emits="release",
        only_if="changed",
        also={"judgments": JUDGMENTS},
    )
    deployed >> StepOperator(step=reconcile)
