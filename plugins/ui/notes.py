"""The dag run's note says what its gate decided, REJECTED and why, or PASSED; or what a dry run of a plan found."""

import logging
from typing import Any

from airflow.listeners import hookimpl

MOST = 1000
"""Characters that Airflow keeps of a note."""


@hookimpl  # type: ignore[untyped-decorator]  # Airflow's
def on_dag_run_success(dag_run: Any, msg: str) -> None:  # noqa: ARG001  # Airflow's signature
    """Write the note. It runs inside the scheduler: whatever happens here must not reach it."""
    try:
        note = _note(dag_run)
        if note:
            dag_run.note = note
    except Exception:
        logging.getLogger(__name__).exception("no note for %s", dag_run.run_id)


def _note(dag_run: Any) -> str | None:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return None
    chosen = (XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.task_id.in_(("gate", "plan")))
    pulled = session.scalars(select(XComModel).where(*chosen, XComModel.key == "result")).first()
    result = XComModel.deserialize_value(pulled) if pulled else None
    return note_of(result) if result else None


def note_of(result: dict[str, Any]) -> str | None:
    """A gate's result, or that of a plan's dry run, as a note; of a plan that is followed, none.

    >>> note_of({"outcome": "rejected", "sentence": "nDCG@10 −0.031 [−0.050, −0.010]"})
    'REJECTED: nDCG@10 −0.031 [−0.050, −0.010]'
    >>> note_of({"dry_run": True, "sentence": "312 of 19,406 documents, ~4 s, 1 pod"})
    'DRY RUN: 312 of 19,406 documents, ~4 s, 1 pod'
    """
    if "dry_run" in result:
        return f"DRY RUN: {result['sentence']}" if result["dry_run"] else None
    sentence = str(result["sentence"])
    outcome = str(result["outcome"])
    said = sentence[len(outcome) :].lstrip(": ") if sentence.lower().startswith(f"{outcome}:") else sentence
    return f"{outcome.upper()}: {said}"[:MOST]
