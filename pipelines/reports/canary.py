"""The report of a deployment by evidence: its stages with what was seen in each, and who or what decided."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.deployment.guardrails import (
    ALPHA,
    GROWTH,
    LEAST_OVERLAP,
    MOST_NOT_READY,
    MOST_RESTARTS,
    QUANTILES,
    REFUSED,
    TESTED,
)
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.deployment.canary import ShadowSeen, StageSeen
    from pipelines.deployment.guardrails import Finding
    from pipelines.deployment.ticks import Terms, Tick
    from pipelines.store.journal import Entry

FILE = "canary.json"


def write_canary_report(folder: Path, seen: "Tick", stages: Sequence["StageSeen"], terms: "Terms") -> None:
    """Write `report.html`, `report.json` and the numbers of each stage, `canary.json`.

    Args:
        folder: where to.
        seen: the tick that decided.
        stages: all so far.
        terms: what the deployment keeps to.
    """
    content = [
        {
            "entry": stage.entry.n,
            "share": stage.share,
            "shadow": stage.shadow and vars(stage.shadow),
            "milliseconds": stage.milliseconds,
            "findings": [*map(_numbers, stage.findings)],
        }
        for stage in stages
    ]
    (folder / FILE).write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    write_report(folder, canary_report(seen, stages, terms))


def canary_report(seen: "Tick", stages: Sequence["StageSeen"], terms: "Terms") -> Report:
    """The report: the timeline first, then each guardrail, and the evidence over time."""
    last = seen.look.findings if seen.look else stages[-1].findings if stages else []
    name = seen.canary.split.name if seen.canary else ""
    return Report(
        "canary",
        f"deployment {name} of release {seen.release[:8]}",
        seen.outcome,
        seen.sentence,
        _pictures(stages),
        [_guardrails(last), *(_shadow(stage.shadow, stage.milliseconds) for stage in stages if stage.shadow)],
        [f"Left out: {', '.join(terms.without)}."] if terms.without else [],
        _method(terms),
        {"release": seen.release, "champion": seen.canary.champion if seen.canary else ""},
        [_timeline(seen, stages, terms)],
    )


def _timeline(seen: "Tick", stages: Sequence["StageSeen"], terms: "Terms") -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("since", "text"), ("share", "number"), ("challenger", "count"), ("champion", "count"),
        ("p50, ms", "number"), ("p99, ms", "number"), ("decided by", "text"), ("because", "text"), ("entry", "number"),
    ]  # fmt: skip
    rows = [
        [
            stage.entry.at, f"{100 * stage.share:g} %" if stage.share else "shadow", stage.challenger, stage.champion,
            *(_both(stage.milliseconds.get(name)) for name in QUANTILES),
            _who(stage.entry), stage.entry.why, str(stage.entry.n),
        ]
        for stage in stages
    ]  # fmt: skip
    needed = ", ".join(
        f"{100 * share:g} %: {searches:,}" for share, searches in zip(terms.plan.shares, terms.plan.searches, strict=True)
    )
    if terms.plan.shadow:
        needed = f"shadow: {terms.plan.shadow_searches:,}, {needed}"
    unseen = [stage for stage in stages if stage.shadow]
    few = f" In shadow, only {unseen[0].challenger:,} were ranked." if unseen and _ended_early(unseen[0], stages, terms) else ""
    return ReportTable(
        "Stages",
        columns,
        rows,
        f"Each stage takes {terms.plan.minutes:g} minutes at least, and as many searches of the challenger: {needed}.{few}"
        " Counts are searches of each release. Latencies are of rankings, the challenger's / the champion's, to 10 %; at"
        " different shares their batches differ."
        f" Then: {seen.outcome}.",
    )


def _both(milliseconds: tuple[float, float] | None) -> str:
    """The challenger's and the champion's, as the columns before have them."""
    return f"{milliseconds[1]:.2f} / {milliseconds[0]:.2f}" if milliseconds else ""


def _ended_early(unseen: "StageSeen", stages: Sequence["StageSeen"], terms: "Terms") -> bool:
    """Whether users got the challenger although too few searches were ranked in shadow."""
    return unseen is not stages[-1] and unseen.challenger < terms.plan.shadow_searches


def _who(entry: "Entry") -> str:
    if entry.action != "stage":  # somebody changed the share by `split`
        return f"{entry.who}, by hand"
    return f"the guardrails, in {entry.dag_run} of {entry.who}" if entry.dag_run else f"the guardrails, for {entry.who}"


def _numbers(finding: "Finding") -> dict[str, Any]:
    """As JSON has it, which knows no infinity."""
    return vars(finding) | {"high": None if finding.high == math.inf else finding.high}


def _guardrails(found: Sequence["Finding"]) -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("guardrail", "text"), ("holds", "text"), ("challenger / champion", "value"), ("interval at every look", "interval"),
        ("challenger", "count"), ("champion", "count"), ("in words", "text"),
    ]  # fmt: skip
    rows = [
        [
            one.name, "no" if one.broken else "yes" if one.judged else "not judged", one.ratio,
            (one.low, one.high if one.high != math.inf else None), one.challenger, one.champion, one.sentence,
        ]
        for one in sorted(found, key=lambda one: (not one.broken, one.judged))
    ]  # fmt: skip
    note = (
        "Broken ones first, then those that could not be judged."
        " Counts are of events: errors, slow searches, searches without a result, clicks."
    )
    return ReportTable("Guardrails", columns, rows, note)


def _shadow(seen: "ShadowSeen", milliseconds: Mapping[str, tuple[float, float]]) -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("of the searches that both ranked", "text"), ("champion", "number"), ("challenger", "number"), ("ratio", "value"),
    ]  # fmt: skip
    rows: list[list[Any]] = [
        [f"{name}, ms", f"{ours:.2f}", f"{theirs:.2f}", theirs / ours] for name, (ours, theirs) in milliseconds.items()
    ]
    for name, (our_count, their_count) in (("errors", seen.errors), ("without a result", seen.empty)):
        rows.append([name, f"{our_count:,}", f"{their_count:,}", their_count / our_count if our_count else None])
    note = (
        f"The mean overlap of the first ten is {seen.overlap:.2f}, of {seen.overlapped:,} searches that the champion ranked;"
        " one that the challenger fails has none. Each release ranked alone,"
        " in turns which of them first, while no user waited; latencies are known to 10 %."
    )
    return ReportTable("Before any user had it", columns, rows, note)


def _pictures(stages: Sequence["StageSeen"]) -> list[Picture]:
    values = [value for stage in stages for value in stage.evidence]
    if not values:
        return []
    caption = (
        "The most that any guardrail has against the challenger after each minute, as the logarithm of the evidence. At the"
        f" dashed line, {REFUSED:.1f}, it is rolled back."
    )
    svg = charts.trend([max(0.0, value) for value in values], REFUSED, "log evidence", "minute")
    return [Picture("Evidence of harm", caption, svg, values)]


def _method(terms: "Terms") -> list[str]:
    return [
        "Searches of users whom the split assigned count, by minute; in shadow those that both releases ranked unseen. Each"
        " minute of each stage is compared within itself, and what the minutes say adds up over all stages (Mantel and"
        " Haenszel 1959; Crook et al. 2009 on pooling a ramp).",
        f"The evidence is a mixture of likelihood ratios that holds at every look (Lindon and Malek 2022). {ALPHA:.0%} is split"
        f" over {', '.join(TESTED)}: a healthy release is rolled back falsely in at most {ALPHA:.0%} of deployments.",
        "Counts are divided by their design effect where the events of one user go together (Rao and Scott 1992). Latency is"
        " what a release takes to rank and write down, without the queue; p50 and p99 count searches above the champion's"
        " quantile of the hour before, with 10 % allowed.",
        f"Fixed limits: {MOST_RESTARTS} restarts within an hour, {MOST_NOT_READY} minutes not ready, {LEAST_OVERLAP:g} of the"
        f" champion's first ten on probe queries. Memory may grow by {GROWTH:.0%}.",
        f"A stage with too few searches after {terms.plan.most_minutes:g} minutes asks a person. One in shadow goes on to the"
        " first users, unless it saw nothing or an overlap is demanded.",
    ]
