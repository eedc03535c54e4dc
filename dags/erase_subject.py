"""Erase a user or a document from everything that is stored, after a person said yes.

Says where the subject is, asks, and erases it. What serves is kept until its successor is **champion**: the corpus without the
subject starts `refresh_embeddings`, and each new champion starts `finish`, which erases the rest and writes the certificate.

## When it is red

- `search`: nothing was changed. A running experiment, or a store or MLflow that does not answer: the message says what to do.
  Skipped, not red: the subject is nowhere, or the form was empty. The log lists the places that were searched.
  `finish` is skipped where the form names somebody, since `erase` finishes then.
- `ask` waits, not red: answer it under Required Actions. Without a yes nothing is erased.
- `erase`, `finish`: clearing is safe, they go on where they were. Something made meanwhile is named; end it first.
- `finish` names the entry of an unfinished erasure: no corpus has its subject any more. Fill in the form again: it goes on.
- The note says WAITS for days: the successor did not pass its gate. Read `evaluate_release`; `waive` lets a person decide.
- Never delete files by hand: the certificate counts what it finds. Never write a name into `why`: the journal is never changed.
"""

from airflow.sdk import DAG
from operators.approval import AskBefore
from operators.assets import CHAMPION, CORPUS
from operators.form import answers, form
from operators.step import StepOperator

from pipelines.steps.erase_subject.erase import EraseParams, erase

OMITTED = ("who", "dry_run")

with DAG(
    "erase_subject",
    schedule=[CHAMPION],
    catchup=False,
    max_active_runs=1,
    tags=["privacy", "journal"],
    default_args={"owner": "search"},
    params=form(EraseParams, omit=OMITTED),
    doc_md=__doc__,
):
    releases = {"outlets": [CORPUS], "emits": "successor", "only_if": "release_due"}
    subject = answers(EraseParams, omit=OMITTED)
    searched = StepOperator(step=erase, task_id="search", step_params={**subject, "dry_run": True})
    asked = AskBefore(subject="May this be erased for good?", told=searched)
    asked >> StepOperator(step=erase, step_params=subject, **releases)
    StepOperator(step=erase, task_id="finish", step_params={"dry_run": "{{ true if params.subject else '' }}"}, **releases)
