"""Bring embeddings and index up to a corpus.

Compares the corpus with the champion's embeddings, encodes only what was added or changed, in as many shards as asked,
and commits all vectors at once, if every document has exactly one. Nothing changed: nothing is encoded. Leaves an
**index**, which starts `evaluate_release`; trained anew where a drift or a degradation asks for it by `re-index`. A dry run
ends after `plan`: the dag run's note says what would be encoded and how long that takes.

## When it is red

- `embed`: the log of the red map index names node, memory or image. Clear that task instance: it goes on from its checkpoints.
- Out of memory twice: lower `batch_tokens` in the DAG or raise the profile's memory (`RATCHET_PROFILES`), then clear it.
- `commit_embeddings`: an integrity check failed, with counts and five ids. Start a new dag run with mode `full`.
- `plan`, `index`: the last line of the log says what to correct; then clear the task and those after it.
- Clearing is safe: finished shards, embeddings and indexes are found by their recipes, and the champion serves on meanwhile.
- Never delete `checkpoints/` or artifacts by hand: `python -m pipelines gc` knows what is still in use.
"""

from airflow.sdk import DAG
from operators.assets import CORPUS, INDEX, RETRAIN
from operators.form import answer_if_event, answer_or_event, answers, form
from operators.step import StepOperator

from pipelines.steps.refresh_embeddings.commit_embeddings import commit_embeddings
from pipelines.steps.refresh_embeddings.embed import embed
from pipelines.steps.refresh_embeddings.index import IndexParams, IndexTuning, index
from pipelines.steps.refresh_embeddings.plan import PlanParams, PlanTuning, plan

with DAG(
    "refresh_embeddings",
    schedule=CORPUS | RETRAIN,
    catchup=False,
    max_active_runs=1,
    tags=["embeddings", "index"],
    default_args={"owner": "search"},
    params=form(IndexParams, IndexTuning, PlanParams, PlanTuning, omit=("embeddings",)),
    doc_md=__doc__,
):
    planned = StepOperator(
        step=plan,
        step_params={**answers(PlanParams, PlanTuning), "corpus": answer_or_event("corpus")},
        returns="shards",
        ends_if="dry_run",
    )
    parts = {name: planned.output[name] for name in ("corpus", "encoder", "variant", "base")}
    embedded = StepOperator.partial(
        step=embed, step_params=parts, returns="shard", over="shard", map_index_template="{{ task.value }}", deferrable=True
    ).expand(value=planned.output)
    committed = StepOperator(
        step=commit_embeddings,
        step_params={**parts, "shards": embedded.output},
        trigger_rule="none_failed",  # nothing to encode skips embed, and still there may be vectors to drop
    )
    anew = {"anew": answer_if_event("anew", RETRAIN, "true")}
    StepOperator(
        step=index,
        step_params={**answers(IndexParams, IndexTuning), **anew, "embeddings": committed.output["embeddings"]},
        outlets=[INDEX],
        emits="index",
    )
