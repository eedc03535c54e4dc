"""Train a reranker over the champion, compress it, and judge the release that it makes.

Trains a cross-encoder on the train queries of the champion's corpus over the champion's own ranking, takes the fastest
variant that ranks as fp32 does, and puts it behind the champion's stages as a **release**, which is measured beside the
champion. A pass starts `promote_release`. A reranker that adds nothing on dev queries, or ranks them worse than the known
queries alone, ends the run early. Runs weekly, by hand, or when a champion with other judgments is deployed.

## When it is red

- Red is never a bad reranker: that is a green run that ends early, or one with the note REJECTED.
- `train_reranker`: no champion, no judged train queries, or only champions that were tuned on them: name an untuned release
  in `candidates_from`. Clear it where it was killed: it goes on from its checkpoint.
- `quantize_reranker`, `choose_reranker`: the library of a variant is missing, or an export differs from its weights.
- `fit_blend`, `assemble`, `evaluate`, `gate`: as in `evaluate_release`; if the champion changed meanwhile, clear the last two.
- Clearing is safe: what was done before is found. Never widen `margin` or lower `confidence` to turn a verdict.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule
from operators.assets import JUDGMENTS, VERDICT
from operators.form import answers, form
from operators.schedules import WEEKLY, over_within
from operators.step import StepOperator

from pipelines.settings import settings
from pipelines.steps.build_reranker.choose_reranker import ChooseRerankerTuning, choose_reranker
from pipelines.steps.build_reranker.quantize_reranker import QuantizeRerankerParams, quantize_reranker
from pipelines.steps.build_reranker.train_reranker import TrainRerankerParams, TrainRerankerTuning, train_reranker
from pipelines.steps.evaluate_release import assemble, evaluate, fit_blend, gate

TRAINING = (TrainRerankerParams, TrainRerankerTuning)
MEASURING = (gate.GateParams, QuantizeRerankerParams, ChooseRerankerTuning)
OTHERS = (
    *("evaluation", "baseline", "anchor", "latency", "off_policy"),
    *("reranker", "index", "queries", "fidelity", "query_variant"),
)
with DAG(
    "build_reranker",
    schedule=AssetOrTimeSchedule(timetable=WEEKLY, assets=[JUDGMENTS]),
    deadline=over_within(days=3),
    catchup=False,
    max_active_runs=1,
    tags=["reranker", "release", "verdict"],
    default_args={"owner": "search"},
    params=form(*MEASURING, *TRAINING, omit=OTHERS),
    doc_md=__doc__,
):
    how = {"ends_if": "no_gain", "profile": settings().training_profile, "deferrable": True}
    trained = StepOperator(step=train_reranker, step_params=answers(*TRAINING), **how)
    index = {"index": trained.output["index"]}
    variants = {**answers(QuantizeRerankerParams, omit=OTHERS), **index, "reranker": trained.output["reranker"]}
    made = StepOperator(step=quantize_reranker, step_params=variants)
    measured = {**answers(ChooseRerankerTuning), **index, "reranker_variants": made.output["reranker_variants"]}
    chosen = StepOperator(step=choose_reranker, step_params=measured)
    parts = {**index, "stages": trained.output["release"], "reranker": chosen.output["report"]}
    fitted = StepOperator(step=fit_blend.fit_blend, step_params=parts)
    assembled = StepOperator(step=assemble.assemble, step_params={**parts, "blend": fitted.output["blend"]})
    evaluated = StepOperator(step=evaluate.evaluate, step_params={"release": assembled.output["release"]})
    compared = {name: evaluated.output[name] for name in ("evaluation", "baseline", "anchor")}
    judged = {**answers(gate.GateParams, omit=OTHERS), **compared}
    StepOperator(step=gate.gate, step_params=judged, outlets=[VERDICT], emits="verdict", only_if="passed")
