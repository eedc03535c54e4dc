"""Put a release together, measure it and judge it.

Assembles encoder, embeddings and index into a **release**, measures it on the judged queries beside BM25 and beside the
champion, and writes a **verdict**. A passing verdict starts `promote_release`. A "no" is an answer, not a failure: the run
is green, its note says REJECTED and why, and nothing follows.

## When it is red

- Red is never a bad release: that is a green run with the note REJECTED. Read the last line of the red task's log.
- `assemble`: the parts were not made from each other. Pass the ids that the message names, or leave them empty in the form.
- `evaluate`: the message names the artifact or file that can't be read; do what stands behind `next:`, then clear it.
- `gate`: the champion changed while it ran. Clear `evaluate` and `gate`: both releases are compared again.
- Clearing is safe: what was measured before is found by its recipe, and no release serves by this DAG.
- Never widen `margin` or lower `confidence` to turn a verdict; to serve a release that nobody judged there is a waiver.
"""

from airflow.sdk import DAG
from operators.assets import INDEX, VERDICT
from operators.form import answer_or_event, answers, form
from operators.step import StepOperator

from pipelines.steps.evaluate_release.assemble import AssembleParams, assemble
from pipelines.steps.evaluate_release.evaluate import EvaluateParams, evaluate
from pipelines.steps.evaluate_release.gate import GateParams, gate

with DAG(
    "evaluate_release",
    schedule=[INDEX],
    catchup=False,
    max_active_runs=1,
    tags=["release", "verdict"],
    default_args={"owner": "search"},
    params=form(GateParams, EvaluateParams, AssembleParams, omit=("release", "evaluation")),
    doc_md=__doc__,
):
    assembled = StepOperator(step=assemble, step_params={**answers(AssembleParams), "index": answer_or_event("index")})
    evaluated = StepOperator(step=evaluate, step_params={**answers(EvaluateParams), "release": assembled.output["release"]})
    compared = {name: evaluated.output[name] for name in ("evaluation", "baseline")}
    StepOperator(
        step=gate,
        step_params={**answers(GateParams), **compared},
        outlets=[VERDICT],
        emits="verdict",
        only_if="passed",
    )
