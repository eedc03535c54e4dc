"""check_parity: sampled entities have online the values that they have offline as of the same moment, or the run is red."""

from datetime import UTC, datetime

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store

VERSION = 1


class CheckParityParams(Params):
    features: list[str] = Field([], description="Ids of features that materialize_view has put online")
    end: str = Field(description="The moment until which they were materialized")
    release: str = Field("", description="Release id whose feature service is registered when all agree; empty: none")
    sample: int = Field(1000, ge=1, le=1_000_000, description="Entities of each view that are compared")
    seed: int = Field(0, ge=0, description="Of the sample")


class CheckParityResult(Result):
    report: str
    values: int
    entities: int
    service: str
    """The feature service that was registered; empty: none."""
    note: str


def check_parity(params: CheckParityParams) -> CheckParityResult:
    """Compare the online store with the rows that Feast joins point in time; a value that differs is an error."""
    from pipelines.features.materialize import moment_of
    from pipelines.features.parity import check_parity as compared
    from pipelines.features.parity import register_service
    from pipelines.features.views import declared_view
    from pipelines.reports.features import report_parity

    online = list(filter(None, params.features))
    if not online:
        raise NothingToDo("no view has values that went online")
    store = open_store()
    end = moment_of("--end", params.end, datetime.now(UTC))
    artifacts = [load(store, "features", name) for name in online]
    views = [(declared_view(artifact.facts["view"]), artifact) for artifact in artifacts]
    parity = compared(views, end, params.sample, params.seed)
    inputs = {artifact.facts["view"]: artifact.id for artifact in artifacts}
    report = report_parity(store, parity, end, inputs, params.sample, params.seed)
    if parity.mismatches:
        raise InputError(
            f"parity: {parity.sentence} (report {report.id})",
            "the same values online and offline",
            "read the report's rows; start materialize_features for this interval again, and nobody may write beside it",
        )
    service = register_service(params.release, [view for view, _ in views], end) if params.release else ""
    entities = sum(parity.entities.values())
    return CheckParityResult(
        report=report.id, values=parity.values, entities=entities, service=service, note=f"PARITY: {parity.sentence}"
    )
