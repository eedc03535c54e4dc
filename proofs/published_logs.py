"""Six logs of the Open Bandit Dataset, as the wheel obp 0.4.1 carries them: three campaigns, two policies, 10,000 rows each.

What is known of them: the policy bts earns no clearly higher click rate than random in any campaign, once it is corrected for
three of them; and the wheel's own description estimates bts from random's log of the campaign `all` at 1.198126 times random.
"""

import csv
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipelines.evaluation.off_policy import estimate
from pipelines.experiments.analysis import analyze_log, moment_of
from pipelines.experiments.recognition import parse_overrides
from pipelines.experiments.staging import stage_log
from pipelines.statistics.multiplicity import holm
from pipelines.statistics.off_policy import off_policy_rows

CAMPAIGNS = ("all", "men", "women")
PUBLISHED = 1.198126
SIMULATIONS, SEED, POSITIONS = 100_000, 12345, 3


def figures(folder: Path) -> dict[str, Any]:
    """What the product says of the logs: rates, effects, p-values before and after the correction; and the IPW example."""
    root = next(folder.rglob("dataset/obd"))
    found: dict[str, Any] = {}
    pvalues = []
    for campaign in CAMPAIGNS:
        analysis = _analyzed(root, campaign)
        effect = analysis.effects[0]
        pvalues.append(effect.pvalue)
        found |= {
            f"obp_{campaign}_control": round(effect.control_value, 4),
            f"obp_{campaign}_treatment": round(effect.treatment_value, 4),
            f"obp_{campaign}_relative": round(effect.relative.estimate, 3),
            f"obp_{campaign}_pvalue": round(effect.pvalue, 4),
            f"obp_{campaign}_trusted": all(check.status != "failed" for check in analysis.checks),
            f"obp_{campaign}_sequential_low": round(effect.sequential.low, 3),
        }
    adjusted, _ = holm(pvalues, 0.05)
    found |= {f"obp_{campaign}_corrected": round(pvalue, 4) for campaign, pvalue in zip(CAMPAIGNS, adjusted, strict=True)}
    return found | _ipw(folder, root)


def _analyzed(root: Path, campaign: str) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / campaign
        source.mkdir()
        for policy in ("random", "bts"):
            shutil.copy(root / policy / campaign / f"{campaign}.csv", source / f"{policy}.csv")
        staged = stage_log(str(source), Path(scratch) / "staged")
        overrides = parse_overrides(["outcome=click"])
        try:
            return analyze_log(staged, None, overrides, moment_of(""))
        finally:
            staged.db.close()


def _ipw(folder: Path, root: Path) -> dict[str, Any]:
    """The description's example: bts by its published prior, simulated as often and with the same seed, on random's log."""
    prior = yaml.safe_load(next(folder.rglob("prior_bts.yaml")).read_text())["all"]
    random = np.random.RandomState(SEED)
    drawn = random.beta(np.array(prior["alpha"]), np.array(prior["beta"]), (SIMULATIONS, len(prior["alpha"])))
    chosen = drawn.argsort(1)[:, ::-1][:, :POSITIONS]
    shares = np.stack([np.bincount(chosen[:, place], minlength=drawn.shape[1]) for place in range(POSITIONS)], 1) / SIMULATIONS
    with (root / "random/all/all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    items = np.array([int(row["item_id"]) for row in rows])
    places = np.array([int(row["position"]) for row in rows]) - 1
    clicks, propensities = (np.array([float(row[name]) for row in rows]) for name in ("click", "propensity_score"))
    value = off_policy_rows(clicks, propensities, shares[items, places])
    weighed = estimate(clicks, propensities, shares[items, places])
    return {
        "obp_ipw_relative": round(value.ips / value.observed, 6),
        "obp_ipw_published": PUBLISHED,
        "obp_ipw_by_the_rule": round(1 + weighed["lift"]["IPS"]["lift"], 6),
        "obp_refused_as_too_thin": bool(weighed["too_thin"]),
        "obp_effective_clicks": round(weighed["effective_rewarded"], 1),
        "obp_snips_relative": round(value.snips / value.observed, 6),
        "obp_ipw_relative_error": round(value.ips_error / value.observed, 3),
    }


def beyond(figures: dict[str, Any]) -> list[str]:
    """Figures that contradict what is known of the logs."""
    held = {
        "obp_ipw_relative": abs(figures["obp_ipw_relative"] - PUBLISHED) < 5e-7,
        "obp_ipw_by_the_rule": abs(figures["obp_ipw_by_the_rule"] - PUBLISHED) < 5e-7,
        "obp_refused_as_too_thin": figures["obp_refused_as_too_thin"],
        "obp_men_pvalue": 0.01 < figures["obp_men_pvalue"] < 0.05,
        **{f"obp_{campaign}_corrected": figures[f"obp_{campaign}_corrected"] > 0.05 for campaign in CAMPAIGNS},
        **{f"obp_{campaign}_trusted": figures[f"obp_{campaign}_trusted"] for campaign in CAMPAIGNS},
    }
    return [f"{name} {figures[name]}" for name, good in held.items() if not good]
