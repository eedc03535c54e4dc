"""Whether an experiment can be trusted at all: checks that come before any effect, and of which one failure makes it invalid.

Seven checks are tests; each fails falsely in at most 0.1 % of sound experiments, so that together they do in less than 1 %, and
all but the one at the planned stop hold at every look. The others compare with fixed limits.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.experiments.cells import counts_by_day, metric_by_day, segment_counts
from pipelines.experiments.units import UnitTable
from pipelines.statistics.sequential import mixture_pvalue, multinomial_pvalue, tuned_rho
from pipelines.statistics.uplift import Floats, Moments, uplift
from pipelines.wording import counted

Status = Literal["passed", "failed", "warned", "not checked"]
ALPHA = 0.001
"""What each of the seven tests may err."""
MOST_CROSSED = 0.02
MOST_EARLY = 0.01
EXTREME = 10.0
"""Times the 99th percentile beyond which a unit is extreme."""
FEWEST_EXPECTED = 10
"""Units that every variant must expect on a day for the day to be tested."""
FEWEST_FLAGGED = 20
"""Units with a flag, such as a lost outcome, below which its shares are not compared."""
TUNED_UNITS = 10_000
"""Units for which the sequences of the trust checks are narrowest; fixed beforehand."""


@dataclass(frozen=True)
class TrustCheck:
    """One check with its answer in words."""

    name: str
    status: Status
    sentence: str
    pvalue: float | None = None


def trust_checks(table: UnitTable, over: bool, shares_declared: bool) -> list[TrustCheck]:
    """All checks.

    Args:
        table: the units.
        over: whether the planned stop has passed: the test of one look at the sample ratio is made then.
        shares_declared: whether the weights were declared, or are equal; else they are the log's own and can't be checked.
    """
    counts = counts_by_day(table)
    return [
        *_sample_ratio(table, counts, over, shares_declared),
        _ratio_by_segment(table, counts, shares_declared),
        _ratio_by_day(table, counts, shares_declared),
        _two_variants(table),
        _before_start(table),
        _before(table),
        _missing_days(table, counts),
        _extremes(table),
        _loss(table),
    ]


def weights_of(table: UnitTable) -> Floats:
    """The declared shares, control first."""
    design = table.design
    return np.array([design.variants[name] for name in (design.baseline, *design.treatments)])


def _shown(counts: Floats, weights: Floats) -> str:
    expected = weights / weights.sum()
    return (
        " : ".join(f"{count / counts.sum():.2%}" for count in counts)
        + " of the units where "
        + " : ".join(f"{share:.2%}" for share in expected)
        + " was expected"
    )


def _sample_ratio(table: UnitTable, counts: Floats, over: bool, declared: bool) -> list[TrustCheck]:
    total, weights = counts.sum(0), weights_of(table)
    if not declared:
        shares = " : ".join(f"{share:.2%}" for share in total / total.sum())
        return [
            TrustCheck(
                "sample ratio",
                "not checked",
                f"No weights were declared and the shares {shares} are not nearly equal: declare the weights to have them"
                " checked.",
            )
        ]
    anytime = float(np.min(multinomial_pvalue(counts.cumsum(0), weights)))
    checks = [_judged("sample ratio, at every look", anytime, f"The variants have {_shown(total, weights)}.")]
    if over:
        checks.insert(
            0, _judged("sample ratio", fixed_ratio_pvalue(total, weights), f"The variants have {_shown(total, weights)}.")
        )
    return checks


def fixed_ratio_pvalue(counts: Floats, weights: Floats) -> float:
    """The p-value of one look at a sample ratio: tea-tasting's for two variants, Pearson's χ² for more."""
    from scipy.stats import chisquare

    if len(counts) == 2:
        from tea_tasting.aggr import Aggregates
        from tea_tasting.metrics.proportion import SampleRatio

        groups = {str(place): Aggregates(count_=int(count)) for place, count in enumerate(counts)}
        result = SampleRatio(float(weights[1] / weights[0])).analyze(groups, "0", "1")
        return float(result.pvalue)
    return float(chisquare(counts, weights / weights.sum() * counts.sum()).pvalue)


def _judged(name: str, pvalue: float, sentence: str, alpha: float = ALPHA) -> TrustCheck:
    return TrustCheck(name, "failed" if pvalue < alpha else "passed", sentence, pvalue)


def _ratio_by_segment(table: UnitTable, counts: Floats, declared: bool) -> TrustCheck:
    name = "sample ratio by segment"
    rows = [
        (f"{table.segments[s]} = {row[0]}", np.array(row[1:], float))
        for s in range(len(table.segments))
        for row in segment_counts(table, s)
    ]
    if not rows:
        return TrustCheck(name, "not checked", "There are no segments.")
    weights = weights_of(table) if declared else counts.sum(0)
    pvalues = np.minimum(1.0, np.array([multinomial_pvalue(row, weights) for _, row in rows]) * len(rows))
    worst = int(np.argmin(pvalues))
    return _judged(
        name,
        float(pvalues[worst]),
        f"{counted(len(rows), 'value')}; the farthest is {rows[worst][0]}: {_shown(rows[worst][1], weights)}.",
    )


def _ratio_by_day(table: UnitTable, counts: Floats, declared: bool) -> TrustCheck:
    name = "sample ratio by day"
    if table.days < 2:
        return TrustCheck(name, "not checked", "There is no more than one day.")
    weights = weights_of(table) if declared else counts.sum(0)
    pvalues = daily_pvalues(counts, weights)
    worst = int(np.argmin(pvalues))
    day = table.first_day.fromordinal(table.first_day.toordinal() + worst) if table.first_day else worst
    return _judged(
        name,
        float(pvalues[worst]),
        f"{counted(table.days, 'day')}; the farthest is {day}:"
        f" {_shown(counts[worst], weights) if counts[worst].sum() else 'no units'}.",
    )


def daily_pvalues(counts: Floats, weights: Floats) -> Floats:
    """A p-value for each day, shape (…, days), which may be compared with one level on every day for ever.

    Day d gets the part 1 / (d (d + 1)) of the level: these parts add up to 1, however long the experiment runs.
    """
    from scipy.special import chdtrc

    shares = weights / weights.sum()
    expected = counts.sum(-1, keepdims=True) * shares
    enough = expected.min(-1) >= FEWEST_EXPECTED
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(enough, ((counts - expected) ** 2 / expected).sum(-1), 0.0)
    day = np.arange(1, counts.shape[-2] + 1)
    adjusted: Floats = np.minimum(1.0, chdtrc(len(weights) - 1, statistic) * day * (day + 1))
    return adjusted


def _two_variants(table: UnitTable) -> TrustCheck:
    name, crossed = "units in two variants", sum(table.crossed)
    if table.weighted or not crossed:
        return TrustCheck(
            name,
            "not checked" if table.weighted else "passed",
            "No unit is in two variants." if not table.weighted else "Aggregated counts do not show it.",
        )
    total = crossed + int(table.rows("SELECT count(*) FROM kept")[0][0])
    share = crossed / total
    sentence = (
        f"{counted(crossed, 'unit')} ({share:.2%}) {'is' if crossed == 1 else 'are'} in two variants and left out; at most"
        f" {MOST_CROSSED:.0%} may be."
    )
    return TrustCheck(
        name,
        "failed" if share > MOST_CROSSED else "warned" if crossed else "passed",
        sentence if crossed else "No unit is in two variants.",
    )


def _before_start(table: UnitTable) -> TrustCheck:
    name = "exposures before the start"
    if not (table.timed and table.design.start):
        return TrustCheck(name, "not checked", "No start was declared, or there are no times.")
    total = table.early + int(table.rows("SELECT count(*) FROM kept")[0][0])
    share = table.early / max(1, total)
    status: Status = "failed" if share > MOST_EARLY else "warned" if table.early else "passed"
    return TrustCheck(
        name,
        status,
        f"{counted(table.early, 'unit')} ({share:.2%}) before {table.design.start:%Y-%m-%d %H:%M} UTC; at most"
        f" {MOST_EARLY:.0%} may be.",
    )


def sequential_pvalue(control: Moments, treatment: Moments, flags: bool) -> Floats:
    """The p-value at every look of an equal mean in two groups, for the shares and covariates of trust checks.

    Args:
        control, treatment: accumulated, shape (looks, …).
        flags: whether the variable is 0 or 1; looks with few ones of both groups together are not judged then.
    """
    effect = uplift(control, treatment)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(effect.error > 0, effect.difference / effect.error, 0.0)
    few = np.minimum(control.count, treatment.count) < 50
    if flags:
        few = few | (control.sums[..., 0] + treatment.sums[..., 0] < FEWEST_FLAGGED)
    pvalues: Floats = np.where(few, 1.0, mixture_pvalue(statistic, np.maximum(effect.units, 1), tuned_rho(TUNED_UNITS, ALPHA)))
    return pvalues


def _worst(cells: Moments, flags: bool) -> float:
    """The smallest p-value over looks and treatments, times their number."""
    grown = [cells.at(np.s_[:, place]).accumulated() for place in range(cells.count.shape[1])]
    pvalues = [float(np.min(sequential_pvalue(grown[0], other, flags))) for other in grown[1:]]
    return min(1.0, min(pvalues) * len(pvalues))


def _before(table: UnitTable) -> TrustCheck:
    name = "balance before the start"
    covered = [
        n for n in range(len(table.sources)) if not table.weighted and int(table.rows(f"SELECT count(c{n}) FROM kept")[0][0])
    ]
    if not covered:
        return TrustCheck(name, "not checked", "Nothing was measured before the start.")
    pvalues = []
    for number in covered:
        cells = metric_by_day(table, number).moments
        swap = [2, 3, 0, 1]
        turned = Moments(
            cells.count, cells.sums[..., swap] * np.array([1, 1, 0, 0]), _turned(cells.products), cells.centre[swap]
        )
        pvalues.append(_worst(turned, False))
    worst = int(np.argmin(pvalues))
    pvalue = min(1.0, pvalues[worst] * len(covered))
    return _judged(
        name, pvalue, f"{table.sources[covered[worst]].metric.name} before the start, compared between the variants."
    )


def _turned(products: Floats) -> Floats:
    """The covariate as the outcome, and no covariate."""
    turned = np.zeros_like(products)
    turned[..., 0, 0] = products[..., 2, 2]
    return turned


def _missing_days(table: UnitTable, counts: Floats) -> TrustCheck:
    name = "missing days"
    if not table.timed:
        return TrustCheck(name, "not checked", "There are no times.")
    empty = int((counts.sum(1) == 0).sum())
    typical = float(np.median(counts.sum(1)[counts.sum(1) > 0])) if counts.sum() else 0.0
    thin = int((counts.sum(1)[1:-1] < 0.1 * typical).sum()) - int((counts.sum(1)[1:-1] == 0).sum()) if table.days > 2 else 0
    sentence = f"{counted(table.days, 'day')}, {empty} of them without a unit, {thin} with less than a tenth of the usual."
    return TrustCheck(name, "warned" if empty or thin else "passed", sentence)


def _flag_cells(table: UnitTable, flag: str) -> Moments:
    """The moments of a share of units by day and variant."""
    shape = (table.days, len(table.design.variants))
    count, hits = np.zeros(shape), np.zeros(shape)
    for day, variant, number, flagged in table.rows(
        f"SELECT day, variant, count(*), coalesce(sum(CAST({flag} AS DOUBLE)), 0) FROM kept GROUP BY day, variant"
    ):
        count[int(day), int(variant)], hits[int(day), int(variant)] = number, flagged
    sums, products = np.zeros((*shape, 4)), np.zeros((*shape, 4, 4))
    sums[..., 0] = products[..., 0, 0] = hits
    return Moments(count, sums, products, np.array([0.0, 1.0, 0.0, 1.0]))


def _extremes(table: UnitTable) -> TrustCheck:
    name = "bots and extreme units"
    counted_rows = table.form == "events"
    if table.weighted or not (counted_rows or table.sources[0].metric.kind == "mean"):
        return TrustCheck(name, "not checked", "A unit has one row and a yes or no.")
    limit = float(table.rows("SELECT approx_quantile(size, 0.99) FROM kept")[0][0] or 0.0) * EXTREME
    cells = _flag_cells(table, f"coalesce(size, 0) > {max(limit, 1e-300)!r}")
    total = int(cells.sums[..., 0].sum())
    what = "rows" if counted_rows else table.sources[0].metric.name
    heavy = table.rows("SELECT max(size) / nullif(sum(size), 0) FROM kept")[0][0] or 0.0
    sentence = (
        f"{counted(total, 'unit')} with {what} above {limit:,.4g}, ten times the 99th percentile; the largest has {heavy:.1%}"
        " of all. They stay in."
    )
    check = _judged(name, _worst(cells, True), sentence)
    return TrustCheck(name, "warned", sentence, check.pvalue) if check.status == "passed" and (heavy > 0.05) else check


def _loss(table: UnitTable) -> TrustCheck:
    name = "loss of outcomes by variant"
    if table.form != "units":
        return TrustCheck(name, "not checked", "In this form a unit without an outcome can't be told from one that was lost.")
    cells = _flag_cells(table, "lost")
    lost = int(cells.sums[..., 0].sum())
    shares = cells.sums[..., 0].sum(0) / np.maximum(1, cells.count.sum(0))
    shown = " : ".join(f"{share:.2%}" for share in shares)
    return _judged(
        name,
        _worst(cells, True),
        f"{counted(lost, 'unit')} without a value of {table.sources[0].metric.name} ({shown}), left out of it.",
    )
