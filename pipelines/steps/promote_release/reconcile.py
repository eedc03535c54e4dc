"""reconcile: MLflow, and Feast where releases read features, show what the journal says."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import NothingToDo
from pipelines.settings import settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1


class ReconcileParams(Params):
    repair: bool = Field(True, description="Correct MLflow and Feast; false: only tell the differences")


class ReconcileResult(Result):
    repaired: int
    differences: list[str]
    note: str


def reconcile(params: ReconcileParams) -> ReconcileResult:
    """Compare MLflow's versions and aliases, and features online, with the journal; tell every difference and mend it."""
    from pipelines.projections import feast
    from pipelines.projections.mlflow import Registry
    from pipelines.reports.features import report_parity
    from pipelines.reports.release_card import described

    store, shown = open_store(), settings().mlflow_uri
    journal = Journal(store)
    if not shown and not feast.reading(journal):
        raise NothingToDo("RATCHET_MLFLOW_URI is not set, and no release reads features: nothing could differ from the journal")
    try:
        features = feast.align(journal, report_parity, params.repair)
    finally:  # neither of the two waits for the other to answer
        versions = Registry(store, described).align(journal, params.repair) if shown else []
    differences = [*((text, params.repair) for text in versions), *features]
    told = {True: [text for text, mended in differences if mended], False: [text for text, mended in differences if not mended]}
    note = " ".join(f"{'MENDED' if mended else 'DIFFERS'}: {'; '.join(texts)}" for mended, texts in told.items() if texts)
    return ReconcileResult(repaired=len(told[True]), differences=[text for text, _ in differences], note=note)
