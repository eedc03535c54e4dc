"""Put a release together, measure it and judge it.

Indexes words and known queries, trains a recommender on interactions, chooses the **stages** by dev queries (or keeps the
champion's), assembles a **release**, measures it beside others, and writes a **verdict**. A pass starts `promote_release`, as
does a person's yes where rules can't decide. A "no" is no failure: the run is green, its note says REJECTED, nothing follows.

## When it is red

- Red is never a bad release: that is a green run with the note REJECTED. Read the last line of the red task's log.
- `index_lexical`, `index_known_queries`, `train_recommender`, `choose_stages`, `assemble`: leave ids empty, `best` in `take`.
- `evaluate`, `perturb`, `measure_robustness`, `gate`: do what stands behind `next:`, then clear `evaluate` and what follows.
- Clearing is safe. Never widen `margin` to turn a verdict: answer `ask`; `waive` writes who said yes into the journal.
"""

from airflow.sdk import DAG
from operators.approval import ask_where_undecided
from operators.assets import INDEX, VERDICT
from operators.form import BY_TASKS, answer_or_event, answers, form
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
from pipelines.steps.promote_release.waive import waive

with DAG(
    "evaluate_release",
    schedule=[INDEX],
    catchup=False,
    max_active_runs=1,
    tags=["release", "verdict"],
    default_args={"owner": "search"},
    params=form(
        *(TrainRecommenderParams, IndexLexicalParams, GateParams, EvaluateParams, ChooseStagesParams, AssembleParams),
        omit=BY_TASKS,
    ),
    doc_md=__doc__,
):
    index = {"index": answer_or_event("index")}
    words = StepOperator(step=index_lexical, step_params={**answers(IndexLexicalParams, omit=("corpus",)), **index})
    known = StepOperator(step=index_known_queries, step_params={**answers(IndexKnownQueriesParams), **index})
    trained = StepOperator(step=train_recommender, step_params={**answers(TrainRecommenderParams, omit=("corpus",)), **index})
    made = (("lexical", words), ("known_queries", known), ("recommender", trained))
    retrievers = {name: task.output[name] for name, task in made}
    chosen = StepOperator(step=choose_stages, step_params={**answers(ChooseStagesParams), **index, **retrievers})
    assembled = StepOperator(step=assemble, step_params={**answers(AssembleParams), **index, "stages": chosen.output["stages"]})
    evaluated = StepOperator(step=evaluate, step_params={**answers(EvaluateParams), "release": assembled.output["release"]})
    compared, rules = {name: evaluated.output[name] for name in ("evaluation", "baseline")}, answers(GateParams)
    copied = StepOperator(step=perturb, step_params={"evaluation": compared["evaluation"], "gate_file": rules["gate_file"]})
    robust = StepOperator(step=measure_robustness, step_params={**compared, "perturbations": copied.output["perturbations"]})
    measured = {name: robust.output[name] for name in ("robustness", "other_robustness")}
    judged_by = {**rules, **compared, **measured, "anchor": evaluated.output["anchor"]}
    judged = StepOperator(step=gate, step_params=judged_by, outlets=[VERDICT], emits="verdict", only_if="passed")
    ask_where_undecided(judged, then=waive, outlets=[VERDICT], emits="verdict")
