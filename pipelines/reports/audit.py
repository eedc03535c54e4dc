"""The report of an audit: every entry of the journal, the youngest first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.reports.frame import Report, ReportTable, write_report


def write_audit_report(folder: Path, entries: Sequence[dict[str, Any]], audits: int, pseudonyms: bool) -> None:
    """Write `report.html` and `report.json`.

    Args:
        folder: where to.
        entries: of the export.
        audits: earlier exports that the journal was compared with.
        pseudonyms: whether names were replaced.
    """
    columns: list[tuple[str, Any]] = [
        ("entry", "number"), ("at", "text"), ("action", "text"), ("from", "text"), ("to", "text"), ("who", "text"),
        ("why", "text"), ("verdict", "text"),
    ]  # fmt: skip
    rows = [
        [
            str(entry["n"]), entry["at"], entry["action"], (entry["from"] or "none")[:8], entry["to"][:20], entry["who"],
            entry["why"], entry["verdict"] or "none",
        ]
        for entry in reversed(entries)
    ]  # fmt: skip
    serves = (entries[-1]["routing"]["champion"] if entries else None) or "none"
    report = Report(
        "report",
        "the journal, for an audit",
        "held",
        f"{len(entries)} entries follow each other; none was altered or removed since {audits} earlier exports",
        [],
        [ReportTable("Entries", columns, rows)],
        [] if audits else ["This is the first export: what was changed before it can't be found."],
        [
            "Each entry names the sha256 of the one before it, and each line of audit.jsonl is sealed with the line before it.",
            "An entry that is altered or removed later differs from this export; the next `audit` says which one.",
            *(["Names are pseudonyms, and personal data in reasons is masked."] if pseudonyms else []),
        ],
        {"champion": serves, "tip": entries[-1]["sha256"] if entries else "none"},
    )
    write_report(folder, report)
