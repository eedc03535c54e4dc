"""Put a release together, measure it and judge it.

Makes retrievers, chooses the **stages** by dev queries or keeps the champion's, fits a **blend**, measures the **release**.
A passing **verdict**, or a person's yes where rules can't decide, starts `promote_release`. A "no" is green: nothing follows.

## When it is red

- Red is never a bad release: that is a green run with the note REJECTED. Read the last line of the red task's log.
- `index_lexical`, `index_known_queries`, `train_recommender`, `choose_stages`, `fit_blend`, `assemble`: parts not made of each
  other, or a stage of the champion that this corpus can't have. Leave the form's ids empty; `best` in `take` chooses anew.
- `evaluate`, `perturb`, `measure_robustness`, `measure_latency`, `gate`: do what `next:` says, clear `evaluate` and the rest.
- Clearing is safe. Never widen `margin` to turn a verdict: answer `ask`; `waive` writes who said yes into the journal.
"""

from airflow.sdk import DAG
from operators.approval import ask_where_undecided
from operators.assets import INDEX, VERDICT
from operators.form import BY_TASKS, answer_or_event, answers, form
from operators.step import StepOperator

from pipelines.steps.build_recommender.train_recommender import TrainRecommenderParams, train_recommender
from pipelines.steps.evaluate_release import fit_blend, gate, index_known_queries, measure_latency, measure_robustness, perturb
from pipelines.steps.evaluate_release.assemble import AssembleParams, assemble
from pipelines.steps.evaluate_release.choose_stages import ChooseStagesParams, choose_stages
from pipelines.steps.evaluate_release.evaluate import EvaluateParams, evaluate
from pipelines.steps.evaluate_release.index_lexical import IndexLexicalParams, index_lexical
from pipelines.steps.promote_release.waive import waive

ASKED = (TrainRecommenderParams, IndexLexicalParams, gate.GateParams, EvaluateParams, fit_blend.FitBlendParams)
with DAG(
    "evaluate_release",
    schedule=[INDEX],
    catchup=False,
    max_active_runs=1,
    tags=["release", "verdict"],
    default_args={"owner": "search"},
    params=form(*ASKED, ChooseStagesParams, AssembleParams, omit=BY_TASKS),
    doc_md=__doc__,
):
    index = {"index": answer_or_event("index")}
    words = StepOperator(step=index_lexical, step_params={**answers(IndexLexicalParams, omit=("corpus",)), **index})
    asked_before = {**answers(index_known_queries.IndexKnownQueriesParams), **index}
    known = StepOperator(step=index_known_queries.index_known_queries, step_params=asked_before)
    trained = StepOperator(step=train_recommender, step_params={**answers(TrainRecommenderParams, omit=("corpus",)), **index})
    found = {name: task.output[name] for name, task in (("lexical", words), ("known_queries", known), ("recommender", trained))}
    chosen = StepOperator(step=choose_stages, step_params={**answers(ChooseStagesParams), **index, **found})
    before = {**index, "stages": chosen.output["stages"]}
    fitted = StepOperator(step=fit_blend.fit_blend, step_params={**answers(fit_blend.FitBlendParams), **before})
    assembled = StepOperator(step=assemble, step_params={**answers(AssembleParams), **before, "blend": fitted.output["blend"]})
    evaluated = StepOperator(step=evaluate, step_params={**answers(EvaluateParams), "release": assembled.output["release"]})
    compared, rules = {name: evaluated.output[name] for name in ("evaluation", "baseline")}, answers(gate.GateParams)
    gated = {"gate_file": rules["gate_file"]}
    copied = StepOperator(step=perturb.perturb, step_params={**gated, "evaluation": compared["evaluation"]})
    copies = {"perturbations": copied.output["perturbations"]}
    robust = StepOperator(step=measure_robustness.measure_robustness, step_params={**compared, **copies})
    fast = StepOperator(step=measure_latency.measure_latency, step_params={**gated, "release": assembled.output["release"]})
    measured = {name: robust.output[name] for name in ("robustness", "other_robustness")}
    judged_by = {**rules, **compared, **measured, "anchor": evaluated.output["anchor"], "latency": fast.output["latency"]}
    judged = StepOperator(step=gate.gate, step_params=judged_by, outlets=[VERDICT], emits="verdict", only_if="passed")
    ask_where_undecided(judged, then=waive, outlets=[VERDICT], emits="verdict")
