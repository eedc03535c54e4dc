"""An estimate from logs with propensities as its own report, and as a section of a verdict's report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, Section, write_report
from pipelines.wording import signed

Z = 1.959964
"""Of a two-sided interval of 95 %."""


def write_off_policy_report(folder: Path, release: str, log: str, summary: Mapping[str, Any]) -> str:
    """Write `report.html` and `report.json`; returns the sentence."""
    section = off_policy_section(summary)
    lift = summary["lift"]["SNIPS"]
    low, high = (lift["lift"] + sign * Z * lift["error"] for sign in (-1, 1))
    estimate = f"SNIPS {signed(lift['lift'])} [{signed(low)}, {signed(high)}] relative to what was earned"
    sentence = f"too little overlap: {summary['too_thin']}" if summary["too_thin"] else estimate
    verdict = "not comparable" if summary["too_thin"] else "measured"
    title = f"release {release[:8]} under logged traffic"
    provenance = {"release": release, "log": log}
    report = Report("off_policy", title, verdict, sentence, section.pictures, section.tables, [], section.method, provenance)
    write_report(folder, report)
    return sentence


def off_policy_section(summary: Mapping[str, Any]) -> Section:
    """The gains by both estimators with their intervals, and how much the policies overlap."""
    tone = "muted" if summary["too_thin"] else "unsure"
    lifts = [
        charts.Interval(name, lift["lift"], lift["lift"] - Z * lift["error"], lift["lift"] + Z * lift["error"], tone)
        for name, lift in summary["lift"].items()
    ]
    caption = "What the release would have earned, relative to what was earned, with 95 % intervals." + (
        f" They do not hold: {summary['too_thin']}." if summary["too_thin"] else ""
    )
    numbers = {lift.label: [lift.estimate, lift.low, lift.high] for lift in lifts}
    picture = Picture("Logged traffic", caption, charts.forest(lifts, "reward, relative"), numbers)
    rows = [
        ["reward a row, as it was", f"{summary['observed']:.5f}"],
        ["reward a row, IPS", f"{summary['ips']:.5f}"],
        ["reward a row, SNIPS", f"{summary['snips']:.5f}"],
        ["rows", f"{summary['rows']:,}"],
        ["rows of equal weight that tell as much", f"{summary['effective_rows']:,.0f}"],
        ["the same of rows with a reward", f"{summary['effective_rewarded']:,.1f}"],
        ["largest share of one row in all weight", f"{summary['largest_share']:.2%}"],
        ["mean weight, 1 where propensities are right", f"{summary['mean_weight']:.3f} ± {summary['mean_weight_error']:.3f}"],
    ]
    table = ReportTable("Overlap of the policies", [("what", "text"), ("value", "number")], rows)
    method = [
        "A row's reward is weighted by the probability of its action under the release, divided by the one with which it was"
        " shown: IPS is the mean of weighted rewards (Horvitz and Thompson 1952), SNIPS divides by the mean weight (Swaminathan"
        " and Joachims 2015). The gain is relative to what was earned on the same rows; its error by the delta method,"
        " clustered by unit.",
        "No log proves whose probabilities the target's are: they are taken for this release's by the word of who weighed it.",
    ]
    return Section([picture], [table], method)
