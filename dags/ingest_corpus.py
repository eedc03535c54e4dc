"""Read a collection into the store.

Leaves a **corpus**: documents, queries and judgments, checked. The same content gives the same corpus, whenever it is
read. A new corpus starts `refresh_embeddings`.
"""

from airflow.sdk import DAG
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
    params=form(IngestParams),
    doc_md=__doc__,
):
    StepOperator(step=ingest, step_params=answers(IngestParams), outlets=[CORPUS], emits="corpus")
