"""Listener that writes dag run notes: a gate's decision with its reason, or what a dry run of `plan` would encode."""

import logging
from typing import Any

from airflow.listeners import hookimpl

NOTE_LIMIT = 1000
"""The most characters that Airflow stores of a note."""


@hookimpl  # type: ignore[untyped-decorator]  # Airflow's
def on_dag_run_success(dag_run: Any, msg: str) -> None:  # noqa: ARG001  # Airflow's signature
    """Write the note. This runs inside the scheduler, so no exception may leave it."""
    try:
        note = _read_note(dag_run)
        if note:
            dag_run.note = note
    except Exception:
        logging.getLogger(__name__).exception("no note for %s", dag_run.run_id)


def _read_note(dag_run: Any) -> str | None:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return None
    of_run = (XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id)
    of_task = (XComModel.task_id.in_(("gate", "plan")), XComModel.key == "result")
    xcom = session.scalars(select(XComModel).where(*of_run, *of_task)).first()
    result = XComModel.deserialize_value(xcom) if xcom else None
    return note_of(result) if result else None


def note_of(result: dict[str, Any]) -> str | None:
    """The note for the result of `gate`, or of `plan` in a dry run; None for a plan that is carried out.

    >>> note_of({"outcome": "rejected", "sentence": "nDCG@10 −0.031 [−0.050, −0.010]"})
    'REJECTED: nDCG@10 −0.031 [−0.050, −0.010]'
    >>> note_of({"dry_run": True, "sentence": "312 of 19,406 documents, ~4 s, 1 pod"})
    'DRY RUN: 312 of 19,406 documents, ~4 s, 1 pod'
    """
    if "dry_run" in result:
        return f"DRY RUN: {result['sentence']}" if result["dry_run"] else None
    sentence = str(result["sentence"])
    outcome = str(result["outcome"])
    reason = sentence[len(outcome) :].lstrip(": ") if sentence.lower().startswith(f"{outcome}:") else sentence
    return f"{outcome.upper()}: {reason}"[:NOTE_LIMIT]
