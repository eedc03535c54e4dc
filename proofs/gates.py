"""`make proof-gates`: how often the gate errs, with the differences of real pairs of releases. Writes build/proof/gates.json.

The pairs: icons, texts of label against label and category; electronics (../shared/data/chorus, or ELECTRONICS=FOLDER), BM25
against dense. Their differences of each query are recentred so that the truth is known, and drawn again and again. A limit is
met unless the 95 % Monte Carlo interval of a share (Wilson) excludes it. The program ends with 1 where one is not met.

Also: fifty challengers in a row that are each worse by a quarter of the margin; harms planted into a release; measures beside
pytrec_eval; the time of a bootstrap; and what the gate says of electronics. `proofs.gate` simulates skewed distributions.
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.evaluation.record import Evaluation
from pipelines.statistics.bootstrap import resampled_means
from pipelines.statistics.intervals import Floats, bounds
from pipelines.statistics.power import detectable
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import Store, open_store
from proofs.gates_harms import planted_harms
from proofs.rankers import ELECTRONICS, call, indexed
from tests.figures import write_figures

SEED, DRAWS, CHALLENGERS = 0, 2000, 50
RUNS = int(os.environ.get("RUNS", "1000"))
"""Runs of fifty challengers each."""
LEVEL, ANCHOR_LEVEL, POWER, RULES = 0.95, 0.99, 0.8, 2
"""As in `pipelines/gates/files/default.yaml`: two rules have a margin once the anchor is not the champion."""
ARMED = 1 - (1 - POWER) / RULES
BUDGET = 20
"""Challengers that the same queries judge before a person is asked."""


def wilson(share: float, runs: int) -> tuple[float, float]:
    """The 95 % interval of a simulated share."""
    z = 1.959964
    middle = (share + z**2 / (2 * runs)) / (1 + z**2 / runs)
    reach = z / (1 + z**2 / runs) * math.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    return middle - reach, middle + reach


def drawn(differences: Floats, mean: float, random: np.random.Generator, runs: int = DRAWS) -> Floats:
    """Samples of a real pair's differences, recentred to a mean: (runs, queries)."""
    return random.choice(differences - differences.mean() + mean, (runs, len(differences)))


def flipped(differences: Floats, random: np.random.Generator, runs: int = DRAWS) -> Floats:
    """The differences with random signs, as between two equal releases: (runs, queries)."""
    return differences * random.choice([-1.0, 1.0], (runs, len(differences)))


def error_rates(differences: Floats, seed: int = SEED) -> dict[str, float]:
    """Shares of draws at the margin for which these queries are armed."""
    random = np.random.default_rng(seed)
    margin = float(detectable(differences, LEVEL, ARMED))
    harmful = bounds(drawn(differences, -margin, random), LEVEL)
    equal = flipped(differences, random)
    bad = bounds(drawn(differences, -2 * margin, random), LEVEL)
    return {
        "margin": margin,
        "false_pass_rate": float(np.mean(harmful[0] > -margin)),
        "false_rejection_rate": float(np.mean(bounds(equal, LEVEL)[1] < 0)),
        "not_passed_rate": float(np.mean(~(bad[0] > -margin))),
        "detection_rate": float(np.mean(bad[1] < 0)),
    }


def equal_release_passes(differences: Floats, seed: int = SEED) -> float:
    """The share of equal releases that pass the file: champion and anchor both, each at the margin it is armed for.

    Champion, anchor and release differ alike from each other, as three equal releases do.
    """
    random = np.random.default_rng(seed)
    passed = np.ones(DRAWS, bool)
    against = [flipped(differences, random) for _ in range(RULES)]
    for values, level in zip((against[0], (against[0] + against[1]) / math.sqrt(2)), (LEVEL, ANCHOR_LEVEL), strict=True):
        passed &= bounds(values, level)[0] > -detectable(values, level, ARMED)
    return float(np.mean(passed))


def creep(differences: Floats, wide: float, fresh: bool, seed: int = SEED, runs: int = RUNS) -> float:
    """The 95th percentile of what is lost below the anchor, in margins, after fifty challengers in a row.

    Each is worse than the champion by a quarter of the margin, and becomes the champion if rules on champion and anchor pass.

    Args:
        differences: of a real pair, query by query.
        wide: the margin, in multiples of what the queries can detect.
        fresh: whether each challenger is judged by queries of its own. Otherwise BUDGET of them are judged unseen.
        seed: of the draws.
        runs: how many lines of challengers.
    """
    random = np.random.default_rng(seed)
    noise = differences - differences.mean()
    margin = wide * float(detectable(differences, LEVEL, ARMED))
    shape = (runs, len(noise))
    champion, steps = np.zeros(shape), np.zeros(runs, int)
    for number in range(CHALLENGERS if fresh else BUDGET):
        if fresh and number:
            champion = sum(
                (np.where((steps > step)[:, None], random.choice(noise, shape) - margin / 4, 0) for step in range(steps.max())),
                np.zeros(shape),
            )
        change = random.choice(noise, shape) - margin / 4
        low, high = bounds(change, LEVEL)
        not_worse = (high >= 0) & (low > -margin) & (detectable(change, LEVEL, ARMED) <= margin)
        passes = ((low > 0) | not_worse) & _passes_anchor(champion + change, margin, steps == 0)
        champion[passes] += change[passes]
        steps += passes
    return float(np.quantile(steps, 0.95)) / 4


def _passes_anchor(values: Floats, margin: float, same: Any) -> Any:
    """As the rule `comparison: anchor`; where the champion is the anchor, the rule on the champion decides."""
    low, _ = bounds(values, ANCHOR_LEVEL)
    return same | (low > 0) | ((low > -margin) & (detectable(values, ANCHOR_LEVEL, ARMED) <= margin))


def evaluated(store: Store, release: str, corpus: str, split: str = "test") -> Evaluation:
    return Evaluation(
        load(store, "evaluation", call("evaluate", release=release, corpus=corpus, baseline="none", split=split).evaluation)
    )


def icons_pair(store: Store) -> tuple[Evaluation, Evaluation]:
    """Evaluations of texts of label and category, and of label alone, on the same queries."""
    corpus, index, _ = indexed(text="label")
    release = call("assemble", index=index).release
    worse = call("assemble", index=indexed(text="label+category")[1]).release
    return evaluated(store, worse, corpus), evaluated(store, release, corpus)


def electronics_pair(store: Store) -> tuple[Evaluation, Evaluation, str]:
    """Evaluations of BM25 and of the encoder over all judged queries, and what the gate says of BM25 against it."""
    corpus, index, retrievers = indexed(source=str(ELECTRONICS))
    dense = call("assemble", index=index).release
    stages = call("choose_stages", index=index, lexical=retrievers["lexical"], take="lexical").stages
    lexical = call("assemble", index=index, stages=stages).release
    Journal(store).append("deploy", dense, "the encoder serves", Routing(champion=dense))
    found = call("evaluate", release=lexical, corpus=corpus, split="all")
    verdict = call("gate", evaluation=found.evaluation, baseline=found.baseline)
    said = load(store, "verdict", verdict.verdict)
    rows = [rule for rule in said.json("verdict.json")["rules"] if rule["name"] == "quality"]
    pool = said.text("pool.csv").count("\n") if "pool.csv" in said.manifest.files else 0
    print(f"electronics: {rows[0]['sentence']}; {pool:,} lines of documents to judge")
    return (
        Evaluation(load(store, "evaluation", found.evaluation)),
        Evaluation(load(store, "evaluation", found.baseline)),
        rows[0]["outcome"],
    )


def measure_difference(evaluation: Evaluation) -> float:
    """The largest absolute difference of a query's measure between ir_measures and pytrec_eval, over the stored run."""
    import pytrec_eval

    names = {"nDCG@10": "ndcg_cut_10", "AP": "map", "P@10": "P_10", "R@100": "recall_100"}
    run = {query: dict(ranking) for query, ranking in evaluation.run().items()}
    kinds = {"ndcg_cut.10", "map", "P.10", "recall.100"}
    values = pytrec_eval.RelevanceEvaluator(evaluation.judgments, kinds).evaluate(run)
    rows = [row for row in evaluation.rows if row["query"] in run]
    return max(abs(row["release"][ours] - values[row["query"]][theirs]) for row in rows for ours, theirs in names.items())


def bootstrap_seconds() -> float:
    """The best of three runs of 10,000 resamples over 3,000 queries."""
    values, seconds = np.random.default_rng(SEED).random(3000), []
    for _ in range(3):
        started = time.perf_counter()
        resampled_means(values)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def rates(pairs: Sequence[Floats]) -> dict[str, float]:
    """The worst of several pairs, with the end of the Monte Carlo interval that decides."""
    found = [error_rates(pair) for pair in pairs]
    worst = {name: max(rate[name] for rate in found) for name in ("false_pass_rate", "false_rejection_rate")}
    least = {name: min(rate[name] for rate in found) for name in ("not_passed_rate", "detection_rate")}
    least["equal_release_passes"] = min(equal_release_passes(pair) for pair in pairs)
    lows = {name.replace("_rate", "_low"): wilson(share, DRAWS)[0] for name, share in worst.items()}
    highs = {f"{name}_high": wilson(share, DRAWS)[1] for name, share in least.items()}
    return {**worst, **lows, **least, **highs, "margin": found[0]["margin"]}


def main() -> int:
    """Run everything in a store of its own."""
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-gates-") as folder:
        os.environ["RATCHET_HOME"] = os.environ.get("GATES_HOME", str(Path(folder) / "home"))
        store = open_store()
        icons = icons_pair(store)
        differences = [_differences(*icons)]
        figures: dict[str, Any] = {"draws": DRAWS, "icons_queries": len(icons[0].rows)}
        if ELECTRONICS.exists():
            *pair, verdict = electronics_pair(store)
            differences.append(_differences(*pair))
            figures |= {"electronics_verdict": verdict, "electronics_queries": len(pair[0].rows)}
        figures |= rates(differences)
        losses = {
            f"creep_{name}_{wide:g}": creep(differences[0], wide, name == "fresh")
            for name in ("same", "fresh")
            for wide in (1, 2, 3)
        }
        figures |= losses | {"creep_runs": RUNS, "creep_loss_p95": max(losses.values()) * figures["margin"]}
        figures |= planted_harms(store, icons[1], figures["margin"])
        figures |= {"max_measure_difference": measure_difference(icons[1]), "bootstrap_10k_3k_s": bootstrap_seconds()}
    goals = {
        "false_pass_low": "≤ 0.05", "false_rejection_low": "≤ 0.05", "not_passed_rate_high": "≥ 0.95",
        "detection_rate_high": "≥ 0.8", "equal_release_passes_high": "≥ 0.8", "creep_loss_p95": f"≤ {figures['margin']}",
        "planted_refused_rate_min_high": "≥ 0.9", "max_measure_difference": "≤ 1e-6", "bootstrap_10k_3k_s": "≤ 1",
    }  # fmt: skip
    write_figures("proof/gates", figures, seed=SEED, runs=DRAWS, goals=goals)
    return 1 if missed_goals(figures, goals) else 0


def _differences(ours: Evaluation, theirs: Evaluation) -> Floats:
    return np.array(ours.values("nDCG@10")) - np.array(theirs.values("nDCG@10"))


def missed_goals(figures: dict[str, Any], goals: dict[str, str]) -> list[str]:
    from tests.figures import met

    missed = [name for name, goal in goals.items() if not met(figures[name], goal)]
    return missed + (
        ["electronics_verdict"] if figures.get("electronics_verdict", "not comparable") != "not comparable" else []
    )


if __name__ == "__main__":
    sys.exit(main())
