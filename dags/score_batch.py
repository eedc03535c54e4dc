"""Rank the documents for every query of a file.

Reads a file of queries, or of users with their histories, each once; ranks them by the champion, or the release that is named,
in shards; and commits **scores** once every query stands in them exactly once. Finished shards are found by a later run.
Unattended, the file's place comes from the Airflow variable `score_batch_source`; a schedule is one line here.

## When it is red

- `plan_scores`: the file can't be read, or too many rows are bad: the message has the first five. Correct it, start again.
- `score_shard`: read the log of the red map index, then clear that task instance alone; finished shards stay.
- `commit_scores`: a query is missing, doubled or ranked by another release, or `output` can't be written; see the message.
- Clearing `plan_scores` takes the champion of now; to keep to one release for the whole file, name it in `release`.
- Clearing the other tasks is safe: shards and scores are found by their recipes, and `output` appears whole or not at all.
- Never put rows into a Parquet file of `scores/` by hand: readers check each file's sha256.
"""

from airflow.sdk import DAG
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.score_batch.commit_scores import CommitScoresTuning, commit_scores
from pipelines.steps.score_batch.plan_scores import PlanScoresParams, PlanScoresTuning, plan_scores
from pipelines.steps.score_batch.score_shard import ScoreShardParams, score_shard

with DAG(
    "score_batch",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["scores"],
    default_args={"owner": "search"},
    params=form(ScoreShardParams, PlanScoresParams, PlanScoresTuning, CommitScoresTuning, omit=("queries", "shard")),
    doc_md=__doc__,
):
    planned = StepOperator(
        step=plan_scores,
        step_params={
            **answers(PlanScoresParams, PlanScoresTuning),
            "source": "{{ params.source or var.value.get('score_batch_source', '') }}",
        },
        returns="shards",
    )
    parts = {"queries": planned.output["queries"], "release": planned.output["release"], "k": "{{ params.k }}"}
    scored = StepOperator.partial(
        step=score_shard, step_params=parts, returns="shard", over="shard", map_index_template="{{ task.value }}"
    ).expand(value=planned.output)
    StepOperator(step=commit_scores, step_params={**parts, **answers(CommitScoresTuning), "shards": scored.output})
