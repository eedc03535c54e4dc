"""Read a collection into the store.

Leaves a **corpus**: documents, queries and judgments, checked. The same content gives the same corpus, whenever it is
read. A new corpus starts `refresh_embeddings`. With `wait_for`, or an Airflow variable `ingest_wait_for`, it first waits until
that S3 key is there.
"""

from airflow.sdk import DAG, Param
from operators.arrival import S3Arrival
from operators.assets import CORPUS
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.ingest import IngestParams, ingest

with DAG(
    "ingest_corpus",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["corpus"],
    default_args={"owner": "search"},
    params={
        **form(IngestParams),
        "wait_for": Param("", type=["string", "null"], description="S3 key to wait for: s3://bucket/key"),
    },
    doc_md=__doc__,
):
    arrived = S3Arrival(task_id="wait_for", bucket_key="{{ params.wait_for or var.value.get('ingest_wait_for', '') }}")
    arrived >> StepOperator(
        step=ingest,
        step_params=answers(IngestParams),
        outlets=[CORPUS],
        emits="corpus",
        trigger_rule="none_failed",  # nothing to wait for skips the wait
    )
