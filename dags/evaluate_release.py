"""Put a release together, measure it and judge it.

Indexes words and known queries, trains a recommender on interactions, chooses the **stages** by dev queries (or keeps the
champion's), assembles a **release**, measures it beside baseline and champion, and writes a **verdict**. A pass starts
`promote_release`. A "no" is an answer, not a failure: the run is green, its note says REJECTED and why, and nothing follows.

## When it is red

- Red is never a bad release: that is a green run with the note REJECTED. Read the last line of the red task's log.
- `index_lexical`, `index_known_queries`, `train_recommender`, `choose_stages`, `assemble`: parts not made from each other, or a
  stage of the champion that can't be made of this corpus. Leave the form's ids empty; `best` in `take` chooses stages anew.
- `evaluate`, `perturb`, `measure_robustness`: the message names what can't be read; do what stands behind `next:`, then clear.
- `gate`: the champion changed while it ran. Clear `evaluate` and `gate`: both releases are compared again.
- Clearing is safe: nothing serves by this DAG. Never widen `margin` to turn a verdict; what nobody judged needs a waiver.
"""

from airflow.sdk import DAG
from operators.assets import INDEX, VERDICT
from operators.form import answer_or_event, answers, form
from operators.step import StepOperator

from pipelines.steps.build_recommender.train_recommender import TrainRecommenderParams, train_recommender
from pipelines.steps.evaluate_release.assemble import AssembleParams, assemble
from pipelines.steps.evaluate_release.choose_stages import ChooseStagesParams, choose_stages
from pipelines.steps.evaluate_release.evaluate import EvaluateParams, evaluate
from pipelines.steps.evaluate_release.gate import GateParams, gate
from pipelines.steps.evaluate_release.index_known_queries import IndexKnownQueriesParams, index_known_queries
from pipelines.steps.evaluate_release.index_lexical import IndexLexicalParams, index_lexical
from pipelines.steps.evaluate_release.measure_robustness import measure_robustness
from pipelines.steps.evaluate_release.perturb import perturb

with DAG(
    "evaluate_release",
    schedule=[INDEX],
    catchup=False,
    max_active_runs=1,
    tags=["release", "verdict"],
    default_args={"owner": "search"},
    params=form(
        *(TrainRecommenderParams, IndexLexicalParams, GateParams, EvaluateParams, ChooseStagesParams, AssembleParams),
        omit=("release", "evaluation", "lexical", "known_queries", "recommender", "stages", "robustness", "other_robustness"),
    ),
    doc_md=__doc__,
):
    index = {"index": answer_or_event("index")}
    words = StepOperator(step=index_lexical, step_params={**answers(IndexLexicalParams, omit=("corpus",)), **index})
    known = StepOperator(step=index_known_queries, step_params={**answers(IndexKnownQueriesParams), **index})
    trained = StepOperator(step=train_recommender, step_params={**answers(TrainRecommenderParams, omit=("corpus",)), **index})
    made = {"lexical": words, "known_queries": known, "recommender": trained}
    retrievers = {name: task.output[name] for name, task in made.items()}
    chosen = StepOperator(step=choose_stages, step_params={**answers(ChooseStagesParams), **index, **retrievers})
    assembled = StepOperator(step=assemble, step_params={**answers(AssembleParams), **index, "stages": chosen.output["stages"]})
    evaluated = StepOperator(step=evaluate, step_params={**answers(EvaluateParams), "release": assembled.output["release"]})
    compared = {name: evaluated.output[name] for name in ("evaluation", "baseline")}
    asked = {"evaluation": evaluated.output["evaluation"], "gate_file": answers(GateParams)["gate_file"]}
    copied = StepOperator(step=perturb, step_params=asked)
    robust = StepOperator(step=measure_robustness, step_params={**compared, "perturbations": copied.output["perturbations"]})
    measured = {name: robust.output[name] for name in ("robustness", "other_robustness")}
    judged_by = {**answers(GateParams), **compared, **measured}
    StepOperator(step=gate, step_params=judged_by, outlets=[VERDICT], emits="verdict", only_if="passed")
