"""The report of parity: what differs between the online store and the offline rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports.frame import Report, ReportTable, write_report
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.objects import Store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.features.parity import Parity

VERSION = 1
MOST_ROWS = 500


def report_parity(
    store: Store, parity: "Parity", end: datetime, features: Mapping[str, str], sample: int, seed: int
) -> Artifact:
    """Keep what a comparison of now found.

    Args:
        store: where to.
        parity: the comparison.
        end: the moment that values are for.
        features: ids of the rows by view.
        sample: entities of each view that were asked for.
        seed: of the sample.
    """
    asked = {"end": end.isoformat(), "at": datetime.now(UTC).isoformat(), "sample": sample, "seed": seed}
    recipe = Recipe(kind="report", step="check_parity", version=VERSION, inputs=dict(features), params=asked)

    def build(folder: Path) -> dict[str, Any]:
        write_parity_report(folder, parity, end.isoformat(), dict(features))
        return {"passed": not parity.mismatches, "sentence": parity.sentence, "values": parity.values}

    return produce(store, recipe, build)


def write_parity_report(folder: Path, parity: "Parity", end: str, provenance: dict[str, str]) -> None:
    """Write `report.html` and `report.json`.

    Args:
        folder: where to.
        parity: the comparison.
        end: the moment that values are for.
        provenance: ids by name.
    """
    columns: list[tuple[str, Any]] = [(name, "text") for name in ("view", "entity", "feature", "offline", "online")]
    differing = [
        [one.view, one.entity, one.feature, str(one.offline), "nothing" if one.online is None else str(one.online)]
        for one in parity.mismatches[:MOST_ROWS]
    ]
    compared: list[list[Any]] = [
        [view, count, sum(one.view == view for one in parity.mismatches)] for view, count in parity.entities.items()
    ]
    report = Report(
        "parity",
        f"features as of {end}",
        "failed" if parity.mismatches else "passed",
        parity.sentence,
        tables=[
            ReportTable("Views", [("view", "text"), ("entities compared", "count"), ("values that differ", "count")], compared),
            *([ReportTable("Values that differ", columns, differing)] if differing else []),
        ],
        method=[
            "Entities are drawn by chance from the offline rows. Offline, Feast joins their rows point in time; online, their"
            " values are read as the search server reads them, and values older than the view's ttl count as nothing.",
        ],
        provenance=provenance,
    )
    write_report(folder, report)
