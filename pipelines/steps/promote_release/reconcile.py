"""reconcile: MLflow shows what the journal says."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import NothingToDo
from pipelines.settings import settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1


class ReconcileParams(Params):
    repair: bool = Field(True, description="Correct MLflow; false: only tell the differences")


class ReconcileResult(Result):
    repaired: int
    differences: list[str]
    note: str


def reconcile(params: ReconcileParams) -> ReconcileResult:
    """Compare MLflow's versions and aliases with the journal, tell every difference and mend it."""
    from pipelines.projections.mlflow import Registry
    from pipelines.reports.release_card import described

    if not settings().mlflow_uri:
        raise NothingToDo("RATCHET_MLFLOW_URI is not set: there is nothing that could differ from the journal")
    store = open_store()
    differences = Registry(store, described).align(Journal(store), params.repair)
    done = "MENDED" if params.repair else "DIFFERS"
    note = f"{done}: {'; '.join(differences)}" if differences else ""
    return ReconcileResult(repaired=len(differences) if params.repair else 0, differences=differences, note=note)
