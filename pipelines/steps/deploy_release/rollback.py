"""rollback: the previous champion serves again, by one journal entry."""

import time

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1


class RollbackParams(Params):
    to: str = Field("", description="Release id; empty: the champion before this one")
    why: str = Field("", description="Reason for the journal")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait until the server follows")


class RollbackResult(Result):
    release: str
    entry: int
    waited_s: float
    """Until the server served the release; what MLflow took is not in it."""
    left: str


def rollback(params: RollbackParams) -> RollbackResult:
    """Go back to a release that was champion before and wait until the server serves it."""
    from pipelines.deployment.going_back import go_back, wait_for_server, warn_superseded
    from pipelines.deployment.resume import rollback_start
    from pipelines.projections.mlflow import project

    started = time.monotonic()
    store = open_store()
    to = load(store, "release", params.to).id if params.to else ""
    journal = Journal(store)
    case, entry = rollback_start(journal, to)
    if entry is None:
        entry = go_back(journal, to, params.why, params.who)
    try:
        if case == "superseded":
            warn_superseded(journal, entry)
        else:
            wait_for_server(entry, params.wait_s)
        waited_s = round(time.monotonic() - started, 3)
    finally:
        project(store, journal)
    return RollbackResult(release=entry.to, entry=entry.n, waited_s=waited_s, left=entry.from_ or "")
