"""Take a release to another environment: copy it with its evidence, judge it there, ask a person, promote it there.

`to` names the environment, one of `RATCHET_ENVIRONMENTS`: a store with journal, gate file and champion of its own. Ids stay
the same. The release is judged anew, by that environment's gate file and against its champion; a "no" is green.

## When it is red

- `copy_release`: the verdict here did not pass, or a part is gone. The message names it; nothing was promoted anywhere.
- `evaluate`, `gate`: that environment's store or gate file. Do what `next:` says, then clear the task.
- `ask` waits, not red: the environment asks a person (`approval`). Answer it under Required Actions.
- `promote`, `reconcile`: as in `promote_release`, in that environment's journal and MLflow model.
- Clearing is safe: what was copied is found. Never copy files of a store by hand: a manifest must come last.
"""

from airflow.sdk import DAG
from operators.approval import AskBefore, answered_by
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.evaluate_release.evaluate import evaluate
from pipelines.steps.evaluate_release.gate import gate
from pipelines.steps.promote_release.copy_release import CopyReleaseParams, copy_release
from pipelines.steps.promote_release.promote import promote
from pipelines.steps.promote_release.reconcile import reconcile

with DAG(
    "promote_environment",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["release", "journal"],
    default_args={"owner": "search"},
    params=form(CopyReleaseParams),
    doc_md=__doc__,
):
    there = {"in_environment": "{{ params.to }}"}
    copied = StepOperator(step=copy_release, step_params=answers(CopyReleaseParams))
    evaluated = StepOperator(step=evaluate, step_params={"release": copied.output["release"]}, **there)
    compared = {name: evaluated.output[name] for name in ("evaluation", "baseline", "anchor")}
    judged = StepOperator(step=gate, step_params={**compared, "gate_file": copied.output["gate_file"]}, **there)
    only_if, asks = judged.output["passed"], copied.output["approval"]
    asked = AskBefore(subject="May this release be promoted there?", told=judged, only_if=only_if, asks=asks)
    by_whom = {"verdict": judged.output["verdict"], "who": answered_by(asked)}
    promoted = StepOperator(step=promote, step_params=by_whom, **there)
    asked >> promoted >> StepOperator(step=reconcile, **there)
