"""Rank the documents for every query of a file.

Reads a file of queries, or of users with their histories, each once; ranks them by the champion, or the release that is named,
in shards; and commits **scores** once every query stands in them exactly once. Finished shards are found by a later run.
Unattended, the file's place comes from the Airflow variable `score_batch_source`; a schedule is one line here.
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
