"""Train a recommender anew and judge the release that it makes.

Trains on the interactions of the champion's corpus, chooses the **stages** for histories by dev queries, keeps the champion's
for texts, fits a **blend** of `features`, measures the **release** beside popularity and the champion: a **verdict**. A pass
starts `promote_release`. The same release as before is found and judged equal. Runs weekly, where the champion has
degraded and the policy says rebuild, or by hand with other options.

## When it is red

- Red is never a bad recommender: that is a green run with the note REJECTED. Without interactions it ends early, green.
- `train_recommender`: there is no champion yet, or its parts are gone: deploy a release first, or name an `index`. Out of
  memory: lower `most_items`, then clear it.
- `choose_stages`, `fit_blend`, `assemble`: parts not made from each other. Leave the form's ids empty and start again.
- `evaluate`, `gate`: as in `evaluate_release`; if the champion changed meanwhile, clear both.
- Clearing is safe: what was done before is found by its recipe, and no release serves by this DAG.
- Never widen `margin` or lower `confidence` to turn a verdict.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule
from operators.assets import REBUILD, VERDICT
from operators.form import answers, form
from operators.schedules import WEEKLY, over_within
from operators.step import StepOperator

from pipelines.steps.build_recommender.train_recommender import TrainRecommenderParams, train_recommender
from pipelines.steps.evaluate_release.assemble import assemble
from pipelines.steps.evaluate_release.choose_stages import choose_stages
from pipelines.steps.evaluate_release.evaluate import EvaluateParams, evaluate
from pipelines.steps.evaluate_release.fit_blend import FitBlendParams, fit_blend
from pipelines.steps.evaluate_release.gate import GateParams, gate

OTHERS = ("release", "evaluation", "anchor", "corpus", "stages", "reranker", "query_variant")

with DAG(
    "build_recommender",
    schedule=AssetOrTimeSchedule(timetable=WEEKLY, assets=[REBUILD]),
    deadline=over_within(days=1),
    catchup=False,
    max_active_runs=1,
    tags=["recommender", "release", "verdict"],
    default_args={"owner": "recommendation"},
    params=form(GateParams, EvaluateParams, FitBlendParams, TrainRecommenderParams, omit=OTHERS),
    doc_md=__doc__,
):
    trained = StepOperator(
        step=train_recommender, step_params=answers(TrainRecommenderParams, omit=("corpus",)), ends_if="empty"
    )
    index = {"index": trained.output["index"]}
    chosen = StepOperator(
        step=choose_stages, step_params={**index, "recommender": trained.output["recommender"], "take": "histories"}
    )
    before = {**index, "stages": chosen.output["stages"]}
    fitted = StepOperator(step=fit_blend, step_params={**answers(FitBlendParams, omit=OTHERS), **before})
    assembled = StepOperator(step=assemble, step_params={**before, "blend": fitted.output["blend"]})
    release = {"release": assembled.output["release"]}
    evaluated = StepOperator(step=evaluate, step_params={**answers(EvaluateParams, omit=("corpus",)), **release})
    compared = {name: evaluated.output[name] for name in ("evaluation", "baseline", "anchor")}
    judged = {**answers(GateParams), **compared}
    StepOperator(step=gate, step_params=judged, outlets=[VERDICT], emits="verdict", only_if="passed")
