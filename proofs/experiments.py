"""`make proof-experiments`: the error rates of A/B analysis, simulated with a known truth. Writes build/proof/experiments.json.

Users come on 28 days, and somebody looks at the end of each. Units spend log-normally (σ = 1.5, five purchases a user that
have a level in common), click with a probability of their own on a random number of searches, or buy at all. A simulated
share may be off by three of its standard errors. Exit 1 beyond a bound. With --obp FOLDER the real logs of the unpacked obp
wheel are analyzed too.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.experiments.design import FINAL_SHARE
from pipelines.experiments.effects import FEWEST_NONZERO, FEWEST_UNITS
from pipelines.experiments.planning import plan
from pipelines.experiments.trust import ALPHA as TRUST_ALPHA
from pipelines.experiments.trust import daily_pvalues, fixed_ratio_pvalue, sequential_pvalue
from pipelines.statistics.sequential import critical_value, mixture_pvalue, multinomial_pvalue, rate_ratio_bounds, tuned_rho
from pipelines.statistics.uplift import Floats, Moments, Uplift, fixed_pvalue, uplift
from proofs import published_logs

DAYS, ALPHA, EFFECT, SIGMA, PURCHASES = 28, 0.05, 0.05, 1.5, 5
SIZES = (2_000, 20_000)
STANDARD_ERRORS = 3.0
CELLS = 4_000_000
"""Numbers in memory at once."""


def tolerance(share: float, runs: int) -> float:
    """How far a simulated share may lie from the true one."""
    return STANDARD_ERRORS * float(np.sqrt(share * (1 - share) / runs))


def day_starts(size: int) -> Any:
    """The first unit of each day."""
    return (np.arange(DAYS) * size) // DAYS


def by_day(variables: dict[str, Floats], size: int) -> Moments:
    """The moments of units of shape (runs, units) by day: shape (days, runs)."""
    names = ("x", "y", "c", "d")
    runs = variables["x"].shape[0]
    ones = np.ones((1, 1))
    values = [variables.get(name, ones if name in ("y", "d") else ones * 0) for name in names]
    centre = np.array([float(value.mean()) for value in values])
    apart = [value - middle for value, middle in zip(values, centre, strict=True)]
    starts = day_starts(size)
    sums, products = np.zeros((DAYS, runs, 4)), np.zeros((DAYS, runs, 4, 4))
    counts = np.repeat(np.diff([*starts, size])[:, None], runs, 1).astype(float)
    for i in range(4):
        if apart[i].size > 1:
            sums[..., i] = np.add.reduceat(apart[i], starts, 1).T
            for j in range(i, 4):
                if apart[j].size > 1:
                    products[..., i, j] = products[..., j, i] = np.add.reduceat(apart[i] * apart[j], starts, 1).T
    return Moments(counts, sums, products, centre)


def nonzero_by_day(x: Floats, size: int) -> Floats:
    """Units with an outcome, accumulated, shape (days, runs)."""
    counts: Floats = np.add.reduceat((x != 0).astype(float), day_starts(size), 1).T.cumsum(0)
    return counts


def spend(random: np.random.Generator, runs: int, size: int, factor: float) -> dict[str, Floats]:
    """What each user spends in five purchases, and in one before the start."""
    level = random.normal(0, SIGMA / np.sqrt(2), (runs, size))
    paid = np.zeros((runs, size))
    for _ in range(PURCHASES):
        paid += np.exp(level + random.normal(0, SIGMA / np.sqrt(2), (runs, size)))
    return {"x": paid * factor, "c": np.exp(level)}


def clicks(random: np.random.Generator, runs: int, size: int, factor: float) -> dict[str, Floats]:
    """Clicks and searches of each user."""
    searches = 1.0 + random.poisson(PURCHASES - 1, (runs, size))
    clicked = random.binomial(searches.astype(int), np.minimum(1.0, factor * random.beta(2, 8, (runs, size))))
    return {"x": clicked.astype(float), "y": searches}


def purchase(random: np.random.Generator, runs: int, size: int, factor: float) -> dict[str, Floats]:
    """Whether each user buys."""
    return {"x": (random.random((runs, size)) < 0.1 * factor).astype(float)}


KINDS = {"mean": spend, "cuped": spend, "ratio": clicks, "proportion": purchase}


def groups(kind: str, runs: int, size: int, factor: float, seed: int) -> Iterator[tuple[Moments, Moments, Floats]]:
    """Control and treatment by day in batches of runs, and the fewest units with an outcome so far."""
    random = np.random.default_rng([seed, size, sorted(KINDS).index(kind)])
    batch = max(1, CELLS // size)
    for start in range(0, runs, batch):
        pair = [KINDS[kind](random, min(batch, runs - start), size, one) for one in (1.0, factor)]
        if kind == "mean":
            for values in pair:
                del values["c"]
        made = [by_day(values, size) for values in pair]
        fewest = np.minimum(*[nonzero_by_day(values["x"], size) for values in pair])
        yield made[0], recentred(made[1], made[0].centre), fewest


def recentred(group: Moments, centre: Floats) -> Moments:
    """The same moments around another centre, so that two groups can be added."""
    shift = group.centre - centre
    outer = group.sums[..., :, None] * shift + shift[:, None] * group.sums[..., None, :]
    products = group.products + outer + group.count[..., None, None] * np.outer(shift, shift)
    return Moments(group.count, group.sums + group.count[..., None] * shift, products, centre)


def truths(kind: str, factor: float) -> tuple[float, float]:
    """The true difference and the true logarithm of the ratio."""
    base = {"mean": PURCHASES * np.exp(SIGMA**2 / 2), "ratio": 0.2, "proportion": 0.1}
    value = float(base.get(kind, base["mean"]))
    return value * (factor - 1), float(np.log(factor))


def coverage(kind: str, runs: int, size: int, seed: int) -> dict[str, float]:
    """How often intervals hold the truth: of one look at the end, and of all looks at once; and how wide they are."""
    difference, log = truths(kind, 1 + EFFECT)
    rho = tuned_rho(2 * size, ALPHA)
    hits: dict[str, list[Any]] = {}
    widths = []
    for control, treatment, fewest in groups(kind, runs, size, 1 + EFFECT, seed):
        effect = uplift(control.accumulated(), treatment.accumulated())
        enough = (fewest >= FEWEST_NONZERO) & (effect.units / 2 >= FEWEST_UNITS)
        reach = critical_value(effect.units, rho, ALPHA)
        fixed = student_reach(effect)
        for scale, off, error in (
            ("absolute", effect.difference - difference, effect.error),
            ("relative", effect.log_ratio - log, effect.log_error),
        ):
            inside = np.abs(off) <= reach * error
            hits.setdefault(f"{scale}_sequential", []).append(np.all(inside | ~enough, axis=0))
            hits.setdefault(f"{scale}_fixed", []).append(np.abs(off[-1]) <= fixed * error[-1])
        widths.append(reach[-1] / fixed)
    figures = {name: float(np.concatenate(values).mean()) for name, values in hits.items()}
    return {**figures, "width_ratio": float(np.concatenate(widths).mean())}


def student_reach(effect: Uplift, alpha: float = ALPHA) -> Floats:
    """The quantile of Student's t at the last look."""
    from scipy.special import stdtrit

    quantiles: Floats = stdtrit(effect.freedom[-1], 1 - alpha / 2)
    return quantiles


def ever_significant(kind: str, runs: int, size: int, seed: int) -> float:
    """How often an A/A experiment is called different at any of 28 looks, or by the test at its end."""
    rho, called = tuned_rho(2 * size, ALPHA), []
    for control, treatment, fewest in groups(kind, runs, size, 1.0, seed):
        effect = uplift(control.accumulated(), treatment.accumulated())
        enough = (fewest >= FEWEST_NONZERO) & (effect.units / 2 >= FEWEST_UNITS)
        statistic = effect.difference / np.maximum(effect.error, 1e-300)
        anytime = np.where(enough, mixture_pvalue(statistic, effect.units, rho), 1.0).min(0) < ALPHA
        final = fixed_pvalue(statistic[-1], effect.freedom[-1]) < FINAL_SHARE * ALPHA
        called.append(anytime | final)
    return float(np.concatenate(called).mean())


def rare_coverage(runs: int, seed: int) -> float:
    """How often the exact sequence of a ratio of rates holds the truth at every look, at one to two purchases a day."""
    random = np.random.default_rng([seed, 77])
    counts = [random.poisson(rate, (DAYS, runs)).cumsum(0) for rate in (1.0, 1.5)]
    low, high = rate_ratio_bounds(counts[0], counts[1], (0.5, 0.5), ALPHA)
    return float(np.all((low <= 1.5) & (high >= 1.5), axis=0).mean())


def trust_family(runs: int, seed: int) -> float:
    """How often at least one of the seven tests of trust fails in a sound experiment of 28 days, looked at daily."""
    random = np.random.default_rng([seed, 78])
    weights = np.array([0.5, 0.5])
    segments = random.multinomial(random.poisson(1000, (runs, DAYS)), [0.6, 0.3, 0.1])
    arms = random.binomial(segments, 0.5)
    counts = np.stack([segments.sum(-1) - arms.sum(-1), arms.sum(-1)], -1)
    grown = counts.cumsum(1)
    failed = multinomial_pvalue(grown, weights).min(1) < TRUST_ALPHA
    final = grown[:, -1]
    failed |= chi_square(final) < TRUST_ALPHA
    for place in range(3):
        part = np.stack([segments[..., place] - arms[..., place], arms[..., place]], -1).cumsum(1)
        failed |= 3 * multinomial_pvalue(part, weights).min(1) < TRUST_ALPHA
    failed |= daily_pvalues(counts.astype(float), weights).min(1) < TRUST_ALPHA
    for share in (None, 0.01, 0.002):
        pair = [flag_moments(random, counts[..., arm].T.astype(float), share) for arm in (0, 1)]
        failed |= sequential_pvalue(pair[0].accumulated(), pair[1].accumulated(), share is not None).min(0) < TRUST_ALPHA
    return float(failed.mean())


def chi_square(counts: Floats) -> Floats:
    """The p-value of equal shares at one look, as `fixed_ratio_pvalue` has it."""
    from scipy.special import chdtrc

    off = counts[:, 0] - counts[:, 1]
    pvalues: Floats = chdtrc(1, off**2 / counts.sum(1))
    return pvalues


def flag_moments(random: np.random.Generator, counts: Floats, share: float | None) -> Moments:
    """The moments of a flag with a probability, or of a normal covariate, from the counts alone; shape (days, runs)."""
    sums, products = np.zeros((*counts.shape, 4)), np.zeros((*counts.shape, 4, 4))
    if share is None:
        sums[..., 0] = random.normal(0, np.sqrt(counts))
        products[..., 0, 0] = sums[..., 0] ** 2 / np.maximum(counts, 1) + random.chisquare(np.maximum(counts - 1, 1))
    else:
        sums[..., 0] = products[..., 0, 0] = random.binomial(counts.astype(int), share)
    return Moments(counts, sums, products, np.array([0.0, 1.0, 0.0, 1.0]))


def sample_ratio_caught(seeds: int) -> int:
    """Of experiments with a million units in which one arm loses 1 %, those that are found at p < 0.001."""
    caught = 0
    for seed in range(seeds):
        random = np.random.default_rng([seed, 79])
        control = random.binomial(1_000_000, 0.5)
        treatment = random.binomial(1_000_000 - control, 0.99)
        caught += fixed_ratio_pvalue(np.array([control, treatment], float), np.array([1.0, 1.0])) < TRUST_ALPHA
    return caught


def cuped_error(runs: int, seed: int) -> float:
    """How far the variance after adjustment is from 1 − ρ² of the one before, relatively."""
    random = np.random.default_rng([seed, 80])
    size, ratios, rho = 2000, [], 0.7
    for _ in range(max(1, runs // 100)):
        pair = []
        for _ in range(2):
            before = random.normal(0, 1, (100, size))
            after = rho * before + np.sqrt(1 - rho**2) * random.normal(0, 1, (100, size)) + 10
            pair.append({"x": after, "c": before})
        made = [by_day(values, size) for values in pair]
        other = recentred(made[1], made[0].centre)
        adjusted = uplift(made[0].total(), other.total())
        for group in (made[0], other):
            group.products[..., 2, :] = group.products[..., :, 2] = 0
        plain = uplift(made[0].total(), other.total())
        ratios.append((adjusted.error / plain.error) ** 2)
    return abs(float(np.concatenate(ratios).mean()) / (1 - rho**2) - 1)


def quantile_coverage(logs: int, seed: int) -> float:
    """How often the interval of a 95th percentile's ratio holds the truth, by the product itself, on requests of 300 users."""
    import tempfile

    import pyarrow
    import pyarrow.parquet

    from pipelines.experiments.analysis import analyze_log, moment_of
    from pipelines.experiments.design import design_of
    from pipelines.experiments.recognition import Overrides
    from pipelines.experiments.staging import stage_log

    metric = {"name": "p95", "kind": "quantile", "column": "latency_ms", "quantile": 0.95, "direction": "decrease"}
    design = design_of({"id": "a", "variants": {"control": 1, "treatment": 1}, "primary": metric, "looks": "end"}, "proof")
    covered = 0
    for number in range(logs):
        random = np.random.default_rng([seed, 82, number])
        users = np.repeat(np.arange(300), 1 + random.poisson(4, 300))
        latency = 100 * np.exp(random.normal(0, 0.8, 300)[users] + random.normal(0, 0.5, len(users)))
        names = pyarrow.array([f"u{user}" for user in users])
        variants = pyarrow.array([("control", "treatment")[user % 2] for user in users])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.parquet"
            pyarrow.parquet.write_table(pyarrow.table({"user_id": names, "variant": variants, "latency_ms": latency}), path)
            log = stage_log(str(path), Path(folder) / "staged")
            effect = analyze_log(log, design, Overrides(), moment_of("")).effects[0]
            log.db.close()
        covered += effect.fixed.low <= 0 <= effect.fixed.high
    return covered / logs


def power_error(runs: int, seed: int) -> float:
    """How far the power of the test at the planned number of units is from the planned 80 %."""
    planned = plan(0.1, 0.0, 0.1, 0.0, None, ALPHA, 0.8, 0.0)
    random = np.random.default_rng([seed, 81])
    size = planned.units // 2
    hits = [random.binomial(size, rate, runs).astype(float) for rate in (0.1, 0.11)]
    pair = []
    for found in hits:
        sums, products = np.zeros((runs, 4)), np.zeros((runs, 4, 4))
        sums[:, 0] = products[:, 0, 0] = found
        pair.append(Moments(np.full(runs, float(size)), sums, products, np.array([0.0, 1.0, 0.0, 1.0])))
    effect = uplift(*pair)
    return float((fixed_pvalue(effect.difference / effect.error, effect.freedom) < ALPHA).mean()) - 0.8


def proof(runs: int, seed: int) -> dict[str, Any]:
    """All simulated figures."""
    figures: dict[str, Any] = {"aa_runs": runs, "coverage_runs": runs}
    fixed, sequential, ratios, called = {}, {}, [], {}
    for kind in KINDS:
        for size in SIZES:
            found = coverage(kind, runs, size, seed)
            for scale in ("absolute", "relative"):
                fixed[f"{kind}_{scale}_{size}"] = found[f"{scale}_fixed"]
                sequential[f"{kind}_{scale}_{size}"] = found[f"{scale}_sequential"]
            ratios.append(found["width_ratio"])
            called[f"{kind}_{size}"] = ever_significant(kind, runs, size, seed + 1)
            print(f"{kind} {size}: {found}, A/A {called[f'{kind}_{size}']}", file=sys.stderr, flush=True)
    sequential["rare_counts"] = rare_coverage(runs, seed)
    worst = max(called.values())
    figures |= {f"fixed_{name}": round(share, 4) for name, share in fixed.items()}
    figures |= {f"sequential_{name}": round(share, 4) for name, share in sequential.items()}
    figures |= {f"aa_{name}": round(share, 4) for name, share in called.items()}
    invalid = trust_family(runs, seed)
    figures |= {
        "aa_ever_significant_rate": round(worst, 4),
        "aa_ever_significant_low": round(worst - tolerance(ALPHA, runs), 4),
        "coverage_fixed_min": round(min(fixed.values()), 4),
        "coverage_fixed_max": round(max(fixed.values()), 4),
        "coverage_sequential_min": round(min(sequential.values()), 4),
        "sequential_width_ratio": round(max(ratios), 3),
        "trust_false_invalid_rate": round(invalid, 4),
        "trust_false_invalid_low": round(max(0.0, invalid - tolerance(max(invalid, 0.01), runs)), 4),
        "srm_planted": 200,
        "srm_caught": sample_ratio_caught(200),
        "cuped_variance_ratio_error": round(cuped_error(runs, seed), 4),
        "quantile_logs": max(1, runs // 10),
        "quantile_coverage": round(quantile_coverage(max(1, runs // 10), seed), 4),
        "power_error": round(power_error(runs, seed), 4),
    }
    return figures


def beyond(figures: dict[str, Any]) -> list[str]:
    """The figures that are worse than stated by more than chance."""
    runs = figures["aa_runs"]
    apart = tolerance(0.95, runs)
    held = {
        "aa_ever_significant_low": figures["aa_ever_significant_low"] <= ALPHA,
        "coverage_fixed_min": figures["coverage_fixed_min"] >= 0.94 - apart,
        "coverage_fixed_max": figures["coverage_fixed_max"] <= 0.96 + apart,
        "coverage_sequential_min": figures["coverage_sequential_min"] >= 0.95 - apart,
        "sequential_width_ratio": figures["sequential_width_ratio"] <= 1.7,
        "trust_false_invalid_low": figures["trust_false_invalid_low"] <= 0.01,
        "srm_caught": figures["srm_caught"] >= 0.95 * figures["srm_planted"],
        "cuped_variance_ratio_error": figures["cuped_variance_ratio_error"] <= 0.02,
        "quantile_coverage": figures["quantile_coverage"] >= 0.94 - tolerance(0.95, figures["quantile_logs"]),
        "power_error": abs(figures["power_error"]) <= 0.02 + tolerance(0.8, runs),
    }
    return [f"{name} {figures[name]}" for name, good in held.items() if not good]


def main() -> int:
    from tests.figures import write_figures

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--obp", type=Path, help="folder of the unpacked wheel obp 0.4.1")
    options = parser.parse_args()
    seed, started = 0, time.monotonic()
    figures = proof(options.runs, seed)
    if options.obp:
        figures |= published_logs.figures(options.obp)
    figures["seconds"] = round(time.monotonic() - started, 1)
    write_figures("proof/experiments", figures, seed=seed, runs=options.runs)
    problems = beyond(figures) + (published_logs.beyond(figures) if options.obp else [])
    for problem in problems:
        print(f"beyond its bound: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
