"""DAGs for the fault tests: real steps on pods with small resource profiles."""

from datetime import timedelta

from airflow.sdk import DAG
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.ingest_corpus.ingest import ingest
from pipelines.steps.refresh_embeddings.commit_embeddings import commit_embeddings
from pipelines.steps.refresh_embeddings.embed import EmbedParams, EmbedTuning, embed
from pipelines.steps.refresh_embeddings.plan import PlanParams, PlanTuning, plan

SOON = timedelta(seconds=2)

with DAG("one_pod", schedule=None):
    StepOperator(step=ingest)

for deferrable in (False, True):
    with DAG(f"shards{'_deferred' * deferrable}", schedule=None, params=form(PlanParams, PlanTuning), max_active_runs=4):
        planned = StepOperator(step=plan, step_params=answers(PlanParams, PlanTuning), returns="shards")
        parts = {name: planned.output[name] for name in ("corpus", "encoder", "variant", "base")}
        embedded = StepOperator.partial(
            step=embed,
            step_params={**parts, "threads": 1},
            returns="shard",
            over="shard",
            deferrable=deferrable,
            retry_delay=SOON,
        ).expand(value=planned.output)
        StepOperator(step=commit_embeddings, step_params={**parts, "shards": embedded.output}, trigger_rule="none_failed")

SHARD = {"step": embed, "step_params": answers(EmbedParams, EmbedTuning), "returns": "shard", "retry_delay": SOON}
ALONE = {
    "with_sidecar": {"name": "embed-sidecar"},
    "small": {"profile": "small"},
    "wants_a_gpu": {"profile": "gpu"},
    "bad_image": {"image": "127.0.0.1:9/nothing:1", "retries": 1},
}
for name, arguments in ALONE.items():
    with DAG(name, schedule=None, params=form(EmbedParams, EmbedTuning)):
        StepOperator(**SHARD, **arguments)
