"""Read a collection into the store and check it.

Leaves a **corpus**: documents, queries and judgments. Rows that can't be used are in the quarantine of the ingest's report;
a failed check of the suite stops here. The same content gives the same corpus, whenever it is read. A new corpus starts
`refresh_embeddings`. With `wait_for`, or an Airflow variable `ingest_wait_for`, the run first waits until that S3 key is there.

## When it is red

- The last line of the red task's log says what was given, what was expected and what to do next; a report's id is in it.
- `wait_for`: the key did not appear within a day, or the connection `aws_default` may not read it. Correct it, clear the task.
- `ingest`: open `/ratchet/reports/report/ID`, correct the source or the form's columns, start a new dag run.
- `check`: open its report. Correct the data and start a new dag run, or have the suite changed and clear `check`.
- Clearing any task is safe: a corpus that exists already is found by its recipe, and until all checks pass nothing follows.
- Never correct a file inside the store: every artifact that names it would be refused as corrupt.
"""

from airflow.sdk import DAG, Param
from operators.arrival import S3Arrival
from operators.assets import CORPUS
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.ingest_corpus.check import CheckParams, check
from pipelines.steps.ingest_corpus.ingest import IngestParams, ingest

with DAG(
    "ingest_corpus",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["corpus"],
    default_args={"owner": "search"},
    params={
        **form(IngestParams, CheckParams, omit=("inspect", "corpus", "exposures", "on")),
        "wait_for": Param("", type=["string", "null"], description="S3 key to wait for: s3://bucket/key"),
    },
    doc_md=__doc__,
):
    arrived = S3Arrival(task_id="wait_for", bucket_key="{{ params.wait_for or var.value.get('ingest_wait_for', '') }}")
    ingested = StepOperator(
        step=ingest,
        step_params=answers(IngestParams, omit=("inspect",)),
        trigger_rule="none_failed",  # nothing to wait for skips the wait
    )
    arrived >> ingested
    StepOperator(
        step=check,
        step_params={**answers(CheckParams, omit=("corpus", "exposures", "on")), "corpus": ingested.output["corpus"]},
        outlets=[CORPUS],
        emits="corpus",
    )
