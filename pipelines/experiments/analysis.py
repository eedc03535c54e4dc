"""An experiment's analysis, from a staged log to its verdict."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.experiments.cells import counts_by_day
from pipelines.experiments.design import Design
from pipelines.experiments.effects import Effect, Mode, corrected, effects_of, mode_of, segment_effects
from pipelines.experiments.metrics import assumed_design, observed_weights, sources_of
from pipelines.experiments.off_policy import OffPolicyEstimate, off_policy_estimates
from pipelines.experiments.quantiles import Curves, latency_curves, quantile_effects
from pipelines.experiments.recognition import LogReading, Overrides, read_log
from pipelines.experiments.staging import StagedLog
from pipelines.experiments.trust import TrustCheck, trust_checks
from pipelines.experiments.units import UnitTable, build_units
from pipelines.experiments.verdict import ExperimentVerdict, judge
from pipelines.statistics.uplift import units_needed
from pipelines.wording import printable


@dataclass(frozen=True)
class Analysis:
    """Everything that the report shows."""

    design: Design
    declared: bool
    """Whether a file declared it; else it was guessed from the log."""
    reading: LogReading
    table: UnitTable
    mode: Mode
    checks: list[TrustCheck]
    effects: list[Effect]
    segments: list[Effect]
    curves: list[Curves]
    verdict: ExperimentVerdict
    units: int
    days_left: int | None
    off_policy: list[OffPolicyEstimate]
    warnings: list[str]


def analyze_log(log: StagedLog, design: Design | None, overrides: Overrides, now: datetime) -> Analysis:
    """Analyze a staged log.

    Args:
        log: the rows.
        design: the declared experiment; none: it is guessed from the log.
        overrides: what the columns are, where the guess is wrong.
        now: the moment that counts as now: whether the planned stop has passed, and what is in the future.

    Raises:
        InputError: the log can't be analyzed: which column, which row, and what to do.
    """
    import duckdb

    try:
        return _analyzed(log, design, overrides, now)
    except duckdb.OutOfMemoryException:
        given = f"{printable(log.source, 120)}, for which the memory is too small"
        raise InputError(given, "room for its units", "pass --memory 2GB, say") from None
    except duckdb.Error as error:
        reason = printable(str(error).partition("\n")[0], 200)
        raise InputError(f"{printable(log.source, 120)}: {reason}", "a log that can be read", "write it once more") from None


def _analyzed(log: StagedLog, design: Design | None, overrides: Overrides, now: datetime) -> Analysis:
    reading = read_log(log, _merged(overrides, design))
    declared = design is not None
    design = design or assumed_design(log, reading, Path(log.source).name.partition(".")[0] or "log")
    if log.traffic != "live":
        design = design.model_copy(update={"traffic": log.traffic})
    table = build_units(log, reading, design, sources_of(log, reading, design), now)
    counts = counts_by_day(table)
    if not declared:
        design = table.design = observed_weights(design, list(counts.sum(0)))
    over = not declared or bool(design.planned_stop and now >= design.planned_stop)
    mode = mode_of(design, table.days, counts, over)
    equal = len(set(design.variants.values())) == 1
    checks = trust_checks(table, over, declared or equal)
    effects = [effect for number in range(len(table.sources)) for effect in _effects(table, number, mode)]
    segments = corrected(
        [effect for number in range(len(table.segments)) for effect in segment_effects(table, number, mode)], design.alpha
    )
    left = _days_left(design, table, effects[0], counts.sum()) if not over else None
    verdict = judge(design, checks, effects, mode, left)
    curves = [
        latency_curves(table, number)
        for number in range(len(table.sources))
        if table.sources[number].metric.kind in ("quantile", "slow_share")
    ]
    warnings = list(_warnings(design, declared, table, effects, checks, mode))
    return Analysis(
        design,
        declared,
        reading,
        table,
        mode,
        checks,
        effects,
        segments,
        curves[:1],
        verdict,
        int(counts.sum()),
        left,
        off_policy_estimates(table),
        warnings,
    )


def _effects(table: UnitTable, number: int, mode: Mode) -> list[Effect]:
    if table.sources[number].metric.kind == "quantile":
        return quantile_effects(table, number, mode)
    return effects_of(table, number, mode)


def _merged(overrides: Overrides, design: Design | None) -> Overrides:
    """The command line's word before the file's; the file's metrics are its outcomes."""
    if design is None:
        return overrides
    outcomes = list(overrides.outcomes)
    return Overrides({**design.columns, **overrides.fields}, outcomes, overrides.segments, declared=True)


def _days_left(design: Design, table: UnitTable, primary: Effect, units: float) -> int | None:
    """Days until the declared minimum effect is seen with the declared power, at the traffic so far."""
    base, minimum = abs(primary.control_value), design.primary.minimum_effect
    if not (minimum and base and math.isfinite(primary.detectable) and table.timed):
        return None
    order = [design.variants[design.baseline], design.variants[primary.treatment]]
    share = sum(order) / sum(design.variants.values())
    reached = primary.detectable * base
    variance = units * share * (reached / _reach(design)) ** 2 / (sum(order) / order[0] + sum(order) / order[1])
    needed = units_needed(variance, minimum * base, design.final_alpha, design.power, (order[0], order[1])) / share
    return max(0, math.ceil((needed - units) / (units / table.days))) or None


def _reach(design: Design) -> float:
    from scipy.special import ndtri

    return float(ndtri(1 - design.final_alpha / 2) + ndtri(design.power))


def _warnings(
    design: Design, declared: bool, table: UnitTable, effects: Sequence[Effect], checks: Sequence[TrustCheck], mode: Mode
) -> list[str]:
    warnings = list(table.log.warnings)
    if design.traffic != "live":
        warnings.append(
            f"This traffic was {design.traffic}: it shows how two variants answer, and nothing of how people would act."
        )
    if not declared:
        warnings.append(
            f"No experiment was declared, so it was guessed from the log: {design.baseline} is control, {design.primary.name}"
            " decides,"
            " and it is read as finished and looked at once. Correct it by --column, or declare it in a file: --experiment"
            " FILE."
        )
    warnings += [
        f"{check.name.capitalize()}: {check.sentence}"
        for check in checks
        if check.status == "warned" or (check.status == "not checked" and check.name == "sample ratio")
    ]
    skewed = sorted({effect.metric for effect in effects if effect.skewed})
    if skewed:
        warnings.append(
            f"{', '.join(skewed)}: too skewed for this many units, so that the interval may not hold (fewer than 355 ·"
            " skewness² in a"
            " variant). Declare winsorize, or wait for more."
        )
    if mode.over and not declared and table.days > 1 and table.timed:
        warnings.append("If anyone could have stopped it earlier, read the interval that is valid at every look instead.")
    return warnings


def record_of(analysis: Analysis) -> dict[str, Any]:
    """The analysis as JSON: everything but the rows. Numbers that are not finite are null."""
    content = {
        "experiment": analysis.design.model_dump(mode="json"),
        "declared": analysis.declared,
        "verdict": asdict(analysis.verdict),
        "reading": {"form": analysis.reading.form, "sentences": [*analysis.reading.sentences, *analysis.table.sentences]},
        "units": analysis.units,
        "days": analysis.table.days,
        "over": analysis.mode.over,
        "checks": [asdict(check) for check in analysis.checks],
        "effects": [asdict(effect) for effect in analysis.effects],
        "segments": [asdict(effect) for effect in analysis.segments],
        "off_policy": [asdict(estimate) for estimate in analysis.off_policy],
        "warnings": analysis.warnings,
    }
    return dict(_finite(content))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def digest_log(log: StagedLog) -> str:
    """The sha256 of the log's files, by their names."""
    whole = hashlib.sha256()
    for name, path in sorted(log.files):
        with path.open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return whole.hexdigest()


def moment_of(on: str) -> datetime:
    """The moment that counts as now: the end of the day `on`, or this moment.

    Raises:
        InputError: it is no day.
    """
    try:
        day = datetime.fromisoformat(on) if on else None
    except ValueError:
        raise InputError(f"--on {on!r}", "a day such as 2026-01-31", "correct it, or leave it out") from None
    return day.replace(hour=23, minute=59, second=59, tzinfo=UTC) if day else datetime.now(UTC)
