"""Fine-tune an encoder on the judgments, and bring embeddings and index up to it, beside those that serve.

Trains on the train queries of the champion's corpus (dev queries choose the epoch, judgments of test queries are never read),
encodes every document with the tuned **encoder**, and leaves an **index**, which starts `evaluate_release`: the gate decides.
An encoder that is not better on dev queries ends the run early. Runs weekly, by hand, or when a champion with other judgments
is deployed.

## When it is red

- Red is never a bad encoder: that is a green run that ends early, or a note REJECTED of `evaluate_release`.
- `tune_encoder`: no champion, no judged train queries, or a loss that is not finite; the last line of its log says what to do.
  Killed or out of time: clear it, it goes on from its checkpoint. Out of memory: lower `batch_size`, start a new dag run.
- `plan`, `embed`, `commit_embeddings`, `index`: as in `refresh_embeddings`.
- Clearing is safe: a tuned encoder is found by its recipe, and no release serves by this DAG.
- Never judge test queries anew until the tuned encoder wins: it would be tuned on them by hand.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule
from operators.assets import INDEX, JUDGMENTS
from operators.form import answer_or_event, answers, form
from operators.schedules import WEEKLY, over_within
from operators.step import StepOperator

from pipelines.settings import settings
from pipelines.steps.build_encoder.tune_encoder import TuneEncoderParams, TuneEncoderTuning, tune_encoder
from pipelines.steps.refresh_embeddings.commit_embeddings import commit_embeddings
from pipelines.steps.refresh_embeddings.embed import embed
from pipelines.steps.refresh_embeddings.index import index
from pipelines.steps.refresh_embeddings.plan import PlanTuning, plan

with DAG(
    "build_encoder",
    schedule=AssetOrTimeSchedule(timetable=WEEKLY, assets=[JUDGMENTS]),
    deadline=over_within(days=3),
    catchup=False,
    max_active_runs=1,
    tags=["encoder", "embeddings", "index"],
    default_args={"owner": "search"},
    params=form(PlanTuning, TuneEncoderTuning, TuneEncoderParams),
    doc_md=__doc__,
):
    tuned = StepOperator(
        step=tune_encoder,
        step_params={**answers(TuneEncoderParams, TuneEncoderTuning), "corpus": answer_or_event("corpus")},
        ends_if="no_gain",
        profile=settings().training_profile,
        deferrable=True,
    )
    made = {name: tuned.output[name] for name in ("corpus", "encoder")}
    planned = StepOperator(step=plan, step_params={**answers(PlanTuning), **made}, returns="shards")
    parts = {name: planned.output[name] for name in ("corpus", "encoder", "variant", "base")}
    embedded = StepOperator.partial(
        step=embed, step_params=parts, returns="shard", over="shard", map_index_template="{{ task.value }}", deferrable=True
    ).expand(value=planned.output)
    committed = StepOperator(
        step=commit_embeddings, step_params={**parts, "shards": embedded.output}, trigger_rule="none_failed"
    )  # as in refresh_embeddings: with nothing to encode, embed is skipped
    StepOperator(step=index, step_params={"embeddings": committed.output["embeddings"]}, outlets=[INDEX], emits="index")
