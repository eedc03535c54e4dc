"""The report of an experiment: verdict and sentence, the effects, how they became known, whether they can be trusted."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.experiments.analysis import record_of
from pipelines.experiments.design import plain_name
from pipelines.experiments.phrases import amount, percent, plain, pvalue_text, span_text
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report
from pipelines.wording import counted

if TYPE_CHECKING:
    from pipelines.experiments.analysis import Analysis
    from pipelines.experiments.effects import Effect

DRAWN = 24
"""Lines of a chart, at most."""


def write_experiment_report(folder: Path, analysis: "Analysis", provenance: dict[str, str]) -> None:
    """Write `report.html`, `report.json` and `analysis.json`."""
    record = json.dumps(record_of(analysis), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "analysis.json").write_text(record, encoding="utf-8")
    write_report(folder, experiment_report(analysis, provenance))


def experiment_report(analysis: "Analysis", provenance: dict[str, str]) -> Report:
    """The report; the pictures stand before the numbers."""
    traffic = "" if analysis.design.traffic == "live" else f", {analysis.design.traffic} traffic"
    title = f"experiment {analysis.design.id}: {counted(analysis.units, 'unit')}, {_duration(analysis)}{traffic}"
    tables = [
        _reading(analysis),
        _effects(analysis),
        *_segments(analysis),
        _trust(analysis),
        *_off_policy(analysis),
        *_tests(analysis),
    ]
    return Report(
        "experiment",
        title,
        analysis.verdict.outcome,
        _sentence(analysis.verdict.sentence).replace(" %", "\u00a0%"),
        list(_pictures(analysis)),
        tables[1:] + tables[:1],
        analysis.warnings,
        list(_method(analysis)),
        provenance,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _duration(analysis: "Analysis") -> str:
    return counted(analysis.table.days, "day") if analysis.table.timed else "no times"


def _pictures(analysis: "Analysis") -> Iterator[Picture]:
    rows = [_line(analysis, effect) for effect in analysis.effects if effect.kind != "quantile" or analysis.mode.over][:DRAWN]
    deciding = "one look at the end" if analysis.mode.over else "every look"
    invalid = analysis.verdict.outcome == "invalid"
    if invalid:
        rows = [replace(row, tone="muted") for row in rows]
    yield Picture(
        "Effects that can't be trusted: a check failed" if invalid else "Effects, relative to control",
        f"Each line is an interval that is valid at {deciding}; the first metric decides. Green: better for sure, red: worse"
        " for"
        " sure, orange: not decided. A dashed red mark is a guardrail's margin.",
        charts.forest(rows, "change against control"),
        [_numbers(effect) for effect in analysis.effects],
    )
    primary = _shown(analysis)
    if analysis.table.timed and analysis.table.days > 1:
        first = analysis.table.first_day
        days = [f"{first + timedelta(days=look.day):%d %b}" if first else str(look.day) for look in primary.looks]
        looks = [(look.relative.estimate, look.relative.low, look.relative.high) for look in primary.looks]
        final = (primary.fixed.estimate, primary.fixed.low, primary.fixed.high)
        yield Picture(
            f"{primary.metric} over time, {primary.treatment}",
            "The band held at every look: whoever stops once it leaves 0 errs as seldom as declared. The last bar is the"
            " narrower interval"
            " of a single look, which is right only for who looks once.",
            charts.sequence(days, looks, final, "change against control"),
            [_finite([look.day, *values]) for look, values in zip(primary.looks, looks, strict=True)],
        )
    if analysis.segments:
        yield Picture(
            f"{primary.metric} by segment",
            "Intervals and colours are corrected for the number of segments (Holm). Segments explain, they do not decide.",
            charts.forest(
                [_segment_line(effect, 0 if invalid else analysis.design.alpha) for effect in analysis.segments[:DRAWN]],
                "change against control",
            ),
            [_numbers(effect) for effect in analysis.segments],
        )
    for curve in analysis.curves:
        names = [plain_name(name) for name in curve.names]
        yield Picture(
            f"{plain_name(curve.metric)}: how many requests are slower",
            "Each line is a variant; lower is faster.",
            charts.curves(curve.values, curve.probabilities, names, plain_name(curve.metric)),
            [[probability, *[values[row] for values in curve.values]] for row, probability in enumerate(curve.probabilities)],
        )


def _shown(analysis: "Analysis") -> "Effect":
    """The primary effect of the treatment that the verdict speaks of, else of the best."""
    primary = [effect for effect in analysis.effects if effect.role == "primary"]
    named = [effect for effect in primary if effect.treatment == analysis.verdict.treatment]
    return named[0] if named else max(primary, key=lambda effect: effect.better.estimate)


def _tone(effect: "Effect", alpha: float, margin: float | None) -> str:
    if margin is not None:
        return "good" if effect.better.low > -margin else "bad" if effect.better.high < -margin else "unsure"
    if effect.adjusted >= alpha or not math.isfinite(effect.better.estimate):
        return "unsure" if effect.role == "primary" else "muted"
    return "good" if effect.better.estimate > 0 else "bad"


def _line(analysis: "Analysis", effect: "Effect") -> charts.Interval:
    design = analysis.design
    margin = next((metric.margin for metric in design.guardrails if metric.name == effect.metric), None)
    many = f" · {plain_name(effect.treatment)}" if len(design.treatments) > 1 else ""
    final = design.final_alpha if analysis.mode.over else design.alpha
    mark = None if margin is None else -margin * effect.sign
    span = effect.relative
    return charts.Interval(f"{effect.metric}{many}", span.estimate, span.low, span.high, _tone(effect, final, margin), mark)


def _segment_line(effect: "Effect", alpha: float) -> charts.Interval:
    tone = "muted"
    if effect.adjusted < alpha:
        tone = "good" if effect.better.estimate > 0 else "bad"
    return charts.Interval(
        plain_name(effect.segment), effect.relative.estimate, effect.relative.low, effect.relative.high, tone
    )


def _numbers(effect: "Effect") -> dict[str, Any]:
    span = effect.relative
    return {
        "metric": effect.metric, "segment": effect.segment, "treatment": effect.treatment,
        **dict(zip(("estimate", "low", "high"), _finite([span.estimate, span.low, span.high]), strict=True)),
    }  # fmt: skip


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _effects(analysis: "Analysis") -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("metric", "text"), ("treatment", "text"), ("units", "number"), ("control → treated", "number"),
        ("difference", "number"),
        ("effect", "number"), ("interval", "number"), ("p", "number"),
    ]  # fmt: skip
    rows = []
    for effect in analysis.effects:
        rows.append([
            f"{effect.metric} ({effect.role})", effect.treatment, f"{effect.units[0]:,} / {effect.units[1]:,}",
            f"{amount(effect.control_value, effect.kind)} → {amount(effect.treatment_value, effect.kind)}",
            _difference(effect), percent(effect.relative.estimate), span_text(effect.relative), pvalue_text(effect.adjusted),
        ])  # fmt: skip
    count = len(analysis.design.treatments)
    holm = f" p and intervals are corrected for {count} treatments (Holm)." if count > 1 else ""
    return ReportTable(
        "What was compared",
        columns,
        rows,
        f"The primary metric decides, guardrails may stop it, secondary metrics explain.{holm}",
    )


def _difference(effect: "Effect") -> str:
    scale, unit = (100, " points") if effect.kind in ("proportion", "slow_share") else (1, "")
    if not math.isfinite(effect.absolute.estimate):
        return "–"
    sign = "+" if effect.absolute.estimate > 0 else ""
    return f"{sign}{plain(scale * effect.absolute.estimate)}{unit}"


def _tests(analysis: "Analysis") -> Iterator[ReportTable]:
    columns: list[tuple[str, Any]] = [
        ("metric", "text"), ("one look", "number"), ("p", "number"), ("every look", "number"),
        ("smallest p", "number"), ("wider", "number"), ("CUPED cuts", "number"), ("detectable", "number"),
    ]  # fmt: skip
    many = " · %s" if len(analysis.design.treatments) > 1 else ""
    rows = []
    for effect in analysis.effects:
        ratio = (
            effect.sequential.width / effect.fixed.width
            if math.isfinite(effect.sequential.width) and effect.fixed.width
            else math.nan
        )
        rows.append([
            f"{effect.metric}{many % effect.treatment if many else ''}", span_text(effect.fixed), pvalue_text(effect.pvalue),
            span_text(effect.sequential), pvalue_text(effect.sequential_pvalue) if effect.looks else "–",
            plain(ratio) if math.isfinite(ratio) else "–",
            f"{effect.cut:.0%}" if effect.cut else "–", percent(effect.detectable).lstrip("+"),
        ])  # fmt: skip
    note = (
        "What it costs to be allowed to look at any time: the interval of one look, the one of every look, and how many"
        " times wider it is."
        " CUPED cuts: of the variance. Detectable: the effect that this many units show with the declared power."
    )
    yield ReportTable("One look or every look", columns, rows, note)


def _segments(analysis: "Analysis") -> Iterator[ReportTable]:
    if not analysis.segments:
        return
    columns: list[tuple[str, Any]] = [
        ("segment", "text"), ("treatment", "text"), ("units", "number"), ("control", "number"), ("treated", "number"),
        ("relative effect", "number"), ("interval", "number"), ("p", "number"),
    ]  # fmt: skip
    rows = [
        [
            effect.segment, effect.treatment, f"{effect.units[0]:,} / {effect.units[1]:,}",
            amount(effect.control_value, effect.kind), amount(effect.treatment_value, effect.kind),
            percent(effect.relative.estimate), span_text(effect.relative), pvalue_text(effect.adjusted),
        ]
        for effect in analysis.segments
    ]  # fmt: skip
    note = (
        f"p and intervals are corrected for {counted(len(rows), 'comparison')} (Holm). Values with fewer than 100 units in a"
        " variant, and those beyond the 20 largest, are one row."
    )
    yield ReportTable(f"{analysis.design.primary.name} by segment", columns, rows, note)


def _trust(analysis: "Analysis") -> ReportTable:
    rows = [
        [check.status, check.name, check.sentence, "–" if check.pvalue is None else pvalue_text(check.pvalue)]
        for check in sorted(
            analysis.checks, key=lambda check: ("failed", "warned", "passed", "not checked").index(check.status)
        )
    ]
    columns: list[tuple[str, Any]] = [("result", "text"), ("check", "text"), ("what was seen", "text"), ("p", "number")]
    note = (
        "One failed check makes the experiment invalid, whatever its effect. Each test errs in at most 0.1 % of sound"
        " experiments."
    )
    return ReportTable("Can it be trusted?", columns, rows, note)


def _off_policy(analysis: "Analysis") -> Iterator[ReportTable]:
    if not analysis.off_policy:
        return
    columns: list[tuple[str, Any]] = [
        ("logged by", "text"), ("rows", "count"), ("worth", "number"), ("observed", "number"), ("IPS", "number"),
        ("± 95 %", "number"), ("SNIPS", "number"), ("± 95 %", "number"), ("mean weight", "number"),
    ]  # fmt: skip
    kind = analysis.design.primary.kind
    rows = []
    for estimate in analysis.off_policy:
        value = estimate.value
        rows.append([
            estimate.variant, estimate.rows, plain(round(estimate.effective_rows)), amount(value.observed, kind),
            amount(value.ips, kind), amount(1.96 * value.ips_error, kind), amount(value.snips, kind),
            amount(1.96 * value.snips_error, kind), plain(value.mean_weight),
        ])  # fmt: skip
    note = (
        f"What the target policy would have earned of {analysis.design.primary.name} per row, by rows that others logged. It"
        " decides"
        " nothing. Worth: rows of equal weight that tell as much. A mean weight far from 1 says that the propensities are"
        " wrong."
    )
    yield ReportTable("The target policy, from the same log", columns, rows, note)


def _reading(analysis: "Analysis") -> ReportTable:
    sentences = [*analysis.table.log.notes, *analysis.reading.sentences, *analysis.table.sentences]
    return ReportTable("How the log was read", [("", "text")], [[sentence] for sentence in sentences])


def _method(analysis: "Analysis") -> Iterator[str]:
    design, mode = analysis.design, analysis.mode
    if design.hypothesis:
        yield f"Hypothesis: {design.hypothesis}"
    if mode.over and mode.looked:
        yield (
            f"It was looked at daily and is over: the test at the end spends {design.final_alpha:g} of the {design.alpha:g}"
            " that may err,"
            " the looks before it the rest; a sequence that left 0 on any day decides, too."
        )
    elif mode.over:
        yield f"It is read as finished and looked at once: a test at {design.alpha:g}, two-sided."
    else:
        yield f"It is running: confidence sequences decide, which hold at every look with an error of {design.alpha:g}."
    yield (
        "Fixed tests: Welch's t (tea-tasting); ratios by the delta method, clustered by unit; relative intervals by the"
        " logarithm of the ratio."
    )
    yield (
        "Sequences: asymptotic confidence sequences (Waudby-Smith et al. 2024), narrowest at the planned number of units;"
        " few outcomes: the exact multinomial test (Lindon and Malek 2022). Quantiles of requests have none, since requests"
        " of one unit"
        " are not independent."
    )
    yield "Units are counted on the day of their first exposure, with all their outcomes that the log has."
    for number, cap in analysis.table.caps.items():
        metric = analysis.table.sources[number].metric
        yield (
            f"{metric.name}: the mean of values cut at {plain(cap)}, the quantile {metric.winsorize:g} of all units; this is"
            " not the mean of the whole values."
        )
    for number, threshold in analysis.table.thresholds.items():
        yield f"{analysis.table.sources[number].metric.name}: the share of a unit's requests slower than {plain(threshold)} ms."
    if any(effect.cut for effect in analysis.effects):
        yield (
            "CUPED: outcomes are adjusted by the same quantity before the start (Deng et al. 2013); means are the adjusted"
            " ones."
        )
    if analysis.table.immature:
        yield f"{counted(analysis.table.immature, 'unit')} younger than {counted(design.maturity_days, 'day')} are left out."
    weights = ", ".join(f"{name} {weight:g}" for name, weight in design.variants.items())
    yield f"Declared weights: {weights}. Control: {design.baseline}."
