"""The report of a rollback drill: its times, and the trend of those before it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.deployment.drill import LIMITS
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

NAMES = {
    "serving_s": "from the entry to live answers",
    "rollback_s": "from the trigger to live answers",
    "projections_s": "until MLflow shows the journal",
}


def write_drill_report(folder: Path, drills: Sequence[dict[str, Any]]) -> None:
    """Write `report.html` and `report.json` of the last of the drills.

    Args:
        folder: where to.
        drills: all so far, oldest first, as `Drill` has its fields.
    """
    last = drills[-1]
    sentence = last["problem"] or (
        f"release {last['previous'][:8]} answered {last['serving_s']:g} s after the entry, and {last['release'][:8]} is back"
    )
    columns: list[tuple[str, Any]] = [("at", "text"), ("entry", "number"), ("left", "text"), ("answered", "text")]
    columns += [*((f"{name}, s", "number") for name in NAMES.values()), ("problem", "text")]
    rows = [
        [
            one["at"], str(one["entry"]), one["release"][:8], one["previous"][:8], *(_seconds(one[name]) for name in NAMES),
            one["problem"] or "none",
        ]
        for one in reversed(drills)
    ]  # fmt: skip
    report = Report(
        "drill",
        f"rollback drill of entry {last['entry']}",
        "failed" if last["problem"] else "passed",
        sentence,
        list(_trend(drills)),
        [ReportTable("Drills", columns, rows)],
        [],
        [
            "A drill is a real rollback: the champion before answers live queries, then the champion is deployed again.",
            "Limits: " + ", ".join(f"{NAMES[name]} {limit:g} s" for name, limit in LIMITS.items()) + ".",
        ],
        {"release": last["release"], "previous": last["previous"]},
    )
    write_report(folder, report)


def _seconds(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f}"


def _trend(drills: Sequence[dict[str, Any]]) -> Iterator[Picture]:
    for name, what in NAMES.items():
        seconds = [one[name] for one in drills if one[name] is not None]
        if seconds:
            svg = charts.trend(seconds, LIMITS[name], "seconds")
            caption = f"Seconds {what}, a point for each drill, the oldest first; the dashed line is the limit."
            yield Picture(f"Trend: {what}", caption, svg, seconds)
