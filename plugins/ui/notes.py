"""A dag run's note is the `note` of its tasks' results: the last that is not empty."""

import logging
from collections.abc import Iterable
from typing import Any

from airflow.listeners import hookimpl

LONGEST = 1000
"""Characters that Airflow keeps of a note."""


@hookimpl  # type: ignore[untyped-decorator]  # Airflow's
def on_dag_run_success(dag_run: Any, msg: str) -> None:  # noqa: ARG001  # Airflow's signature
    """Write the note."""
    try:
        note = last_note(_notes(dag_run))
        if note:
            dag_run.note = note
    except Exception:  # whatever fails, the dag run succeeded, and other listeners must hear of it
        logging.getLogger(__name__).exception("no note for %s", dag_run.run_id)


def _notes(dag_run: Any) -> list[Any]:
    """The XComs called `note` of a dag run, in the order in which they were pushed."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return []
    of_run = (XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == "note")
    pushed = session.scalars(select(XComModel).where(*of_run).order_by(XComModel.timestamp))
    return [XComModel.deserialize_value(xcom) for xcom in pushed]


def last_note(notes: Iterable[Any]) -> str:
    """The last note that is not empty, as much of it as Airflow keeps; empty: there is none.

    >>> last_note(["DRY RUN: 312 of 19,406 documents", "", None]), last_note([])
    ('DRY RUN: 312 of 19,406 documents', '')
    """
    return next((str(note)[:LONGEST] for note in reversed(list(notes)) if note), "")
