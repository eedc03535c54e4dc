"""The result of `verify`: a line for each check, on a terminal and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError, StepError
from pipelines.reports.frame import Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.verification.release import Check

TITLES = {
    "journal": "no entry was changed or removed",
    "recipes": "each id is the hash of its recipe",
    "files": "each file is the one that was stored",
    "parts": "the parts were made from each other",
    "measures": "the stored runs have the stored measures",
    "verdict": "the rules decide as the verdict says",
    "answers": "the release answers as it was judged",
}
"""Every check, in its order, and what it holds."""


def _rows(passed: "Sequence[Check]", problem: StepError | None) -> list[list[str]]:
    seen = {check.name: check.sentence for check in passed}
    rows = [[title, "yes" if name in seen else "not checked", seen.get(name, "")] for name, title in TITLES.items()]
    if problem is not None and len(seen) < len(rows):
        rows[len(seen)][1:] = ["NO", problem.given]
    return rows


def print_checks(passed: "Sequence[Check]", problem: StepError | None) -> None:
    """Print the checks as a table on stderr."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=0)
    for heading in ("what is checked", "holds", "what was seen"):
        table.add_column(heading, overflow="fold")
    for row in _rows(passed, problem):
        table.add_row(*map(Text, row))
    Console(stderr=True).print(table)


def write_verification_report(folder: Path, release: str, passed: "Sequence[Check]", problem: StepError | None) -> None:
    """Write `report.html` and `report.json`.

    Raises:
        InputError: the folder can't be written.
    """
    sentence = f"{len(passed)} of {len(TITLES)} checks hold" + (f"; {problem}" if problem else "")
    table = ReportTable(
        "Checks", [("what is checked", "text"), ("holds", "text"), ("what was seen", "text")], _rows(passed, problem)
    )
    method = [
        "Everything is derived again from the stored files; nothing is believed that can be computed.",
        "Each entry of the journal is held by the one behind it, the last one by the releases and the verdict that it names.",
        "Another time, name or reason of the last entry, and entries cut off behind it, are seen against an audit that is kept"
        " elsewhere, and against nothing else (`--audit FILE`).",
    ]
    report = Report(
        "verification",
        f"release {release[:8]}, verified",
        "failed" if problem else "passed",
        sentence,
        tables=[table],
        method=method,
        provenance={"release": release},
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_report(folder, report)
    except OSError as error:
        raise InputError(f"--page {folder}: {error.strerror}", "a folder that can be written", "pass another") from None
