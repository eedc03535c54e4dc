"""The report of `check_bias`: what each rule says, every segment, and who is shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.gates.evidence import Evidence
from pipelines.gates.gate_file import GateFile, Rule
from pipelines.gates.verdict import WORST_FIRST, RuleVerdict
from pipelines.reports.evidence import evidence_sections
from pipelines.reports.frame import Report, ReportTable, write_report


def write_bias_report(folder: Path, rules: Sequence[Rule], verdicts: Sequence[RuleVerdict], evidence: Evidence) -> None:
    """Write `report.html` and `report.json`."""
    worst = min(verdicts, key=lambda verdict: WORST_FIRST.index(verdict.outcome))
    sections = evidence_sections(GateFile.model_construct(name="bias", description="", rules=list(rules)), evidence)
    columns: list[tuple[str, Any]] = [("rule", "text"), ("outcome", "text"), ("why", "text"), ("what would decide", "text")]
    rows = [[one.name, one.outcome, one.sentence.removeprefix(f"{one.outcome}: "), one.next] for one in verdicts]
    report = Report(
        "bias",
        f"bias of release {evidence.evaluation.release[:8]}",
        worst.outcome,
        worst.sentence,
        tables=[ReportTable("Rules", columns, rows), *(table for section in sections for table in section.tables)],
        method=[line for section in sections for line in section.method],
        provenance={"release": evidence.evaluation.release, "evaluation": evidence.evaluation.id}
        | ({"baseline": evidence.champion.id} if evidence.champion else {}),
    )
    write_report(folder, report)
