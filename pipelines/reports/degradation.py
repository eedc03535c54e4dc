"""The report of a degradation: what the champion is held to, what changed since its promotion, and what starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.evaluation.measures import label
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.gates.degradation import Degradation, RuleChange
    from pipelines.gates.policy import Policy


def write_degradation_report(folder: Path, degradation: "Degradation", policy: "Policy") -> None:
    """Write `report.html` and `report.json`."""
    write_report(folder, degradation_report(degradation, policy))


def degradation_report(degradation: "Degradation", policy: "Policy") -> Report:
    """The report: a picture of each rule that was run, and a table of all."""
    shown = [rule for rule in degradation.rules if rule.difference is not None]
    starts = ", ".join(degradation.repairs) or "nothing"
    return Report(
        "degradation",
        f"release {degradation.release[:8]} since its promotion",
        degradation.outcome,
        degradation.sentence,
        [_picture(rule, policy) for rule in shown[:5]],
        [_table(degradation)],
        [f"The policy {policy.name} starts: {starts}."] if degradation.repairs else [],
        _method(degradation, policy),
        {name: getattr(degradation, name) for name in ("release", "corpus", "evaluation", "promotion")},
    )


def _picture(rule: "RuleChange", policy: "Policy") -> Picture:
    assert rule.difference is not None
    assert rule.low is not None
    assert rule.high is not None
    estimate = charts.Estimate(rule.measure, rule.difference, rule.low, rule.high)
    caption = (
        f"{label(rule.measure)} today less that of the promotion, with {100 * (1 - 2 * policy.level):g} % interval. It holds"
        " when the whole interval is right of the margin, and has degraded when it is left of it, beyond chance."
    )
    return Picture(rule.name, caption, charts.difference(estimate, rule.margin, "today − promotion"), vars(estimate))


def _table(degradation: "Degradation") -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("rule", "text"), ("outcome", "text"), ("measure", "text"), ("queries", "text"), ("then", "value"), ("today", "value"),
        ("difference", "signed"), ("margin", "number"), ("p", "value"), ("starts", "text"),
    ]  # fmt: skip
    rows = [
        [
            rule.name, rule.outcome, label(rule.measure), f"{rule.n:,} {'paired' if rule.queries == 'common' else 'today'}",
            rule.before, rule.now, rule.difference, f"{rule.margin:g}", rule.pvalue, ", ".join(rule.repairs),
        ]
        for rule in degradation.rules
    ]  # fmt: skip
    return ReportTable("Rules", columns, rows, "p is corrected for the number of rules.")


def _method(degradation: "Degradation", policy: "Policy") -> list[str]:
    return [
        f"{degradation.common:,} queries were judged at the promotion and are judged today, {degradation.gone:,} only then,"
        f" {degradation.added:,} only today. A query is the same if its id and its text are.",
        "Rules on common queries take the paired difference of each query: only its judgments can have changed, since the"
        " release ranks as it did. Rules on all queries compare the means by a test for samples that share a part"
        " (Derrick et al. 2017): the paired t-test where all are shared, Welch's where none is.",
        f"Degraded: the fall is beyond the margin with p ≤ {policy.level:g}, by Holm's correction over"
        f" {len(degradation.rules)} rules. Held: the interval lies above −margin.",
        f"What a rule starts is started at most once in {policy.cool_down_hours:g} hours; the journal says when and why.",
    ]
