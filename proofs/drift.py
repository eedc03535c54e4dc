"""`make proof-drift`: how often quiet days raise an alarm, how soon planted drifts do, and what memory 10 million rows take.

The statistics of the quiet days are computed once, by a seed, and kept in build/drift; every day is judged beside the days
before it as `judge_drift` does, and histories of 90 days are drawn from the judged days. See `proofs.drift_days` for what a day
is. Exit 1 if a goal is missed. Options: --days, --histories, --seeds, --rows.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.drift.judging import Drift, judge_drift
from pipelines.drift.policy import DriftPolicy, read_drift_policy
from pipelines.drift.snapshot import Snapshot
from pipelines.models.encoder import load_encoder
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from proofs.drift_days import ELECTRONICS, Base, Calendar, base_of, snapshot
from proofs.kill_points import local_sandbox
from tests.conftest import PROJECT, call
from tests.figures import met, write_figures

SEED, WARM, LENGTH = 19, 74, 90
REPORTS = PROJECT / "build/drift/reports.json"
"""What `python -m proofs.drift_reports` found of real collections."""
PLANTED = (
    "other_language", "price_band", "new_category", "long_queries", "broken_tokenizer", "lost_segment", "encoder_changed",
)  # fmt: skip
GOALS = {
    "false_alarms_mean_90d": "≤ 1",
    "false_alarms_upper": "≤ 1",
    "planted_caught_rate_min": "≥ 0.9",
    "gradual_detection_days": "≤ 10",
    "rss_growth_mb_1m_to_10m_rows": "≤ 100",
}


def judged(day: Snapshot, past: list[Snapshot], policy: DriftPolicy, since: str = "") -> Drift:
    """A day beside the days before it, without a reference."""

    def no_samples(table: str) -> Any:
        raise AssertionError(f"{table} by permutation, with {len(past)} days before it")

    return judge_drift(day, past[-WARM:], None, no_samples, policy, since)


def quiet_days(base: Base, count: int, path: Path) -> list[Snapshot]:
    """The snapshots of quiet days, one after the other; computed once and kept."""
    if path.exists():
        kept: list[Snapshot] = pickle.loads(path.read_bytes())
        if len(kept) >= count:
            return kept[:count]
    calendar = Calendar(base, SEED)
    made = [snapshot(calendar.day(), number) for number in range(count)]
    path.write_bytes(pickle.dumps(made))
    return made


def false_alarms(days: list[Snapshot], histories: int, policy: DriftPolicy) -> dict[str, Any]:
    """Each day judged beside those before it, histories of 90 days of the judged ones, and the bound of their mean."""
    alarms, since, by_area = np.zeros(len(days)), "", dict.fromkeys(policy.areas, 0)
    kinds = {"sudden": 0, "gradual": 0}
    for number in range(WARM, len(days)):
        drift = judged(days[number], days[:number], policy, since)
        alarms[number] = drift.outcome != "quiet"
        since = days[number].day if drift.gradual else since
        for area in drift.areas:
            by_area[area.area] += area.outcome in ("watch", "act")
        for kind in {change.kind for change in drift.signals if change.alarm}:
            kinds[kind] += 1
    random, judged_days = np.random.default_rng(SEED), len(days) - WARM
    starts = random.integers(WARM, len(days) - LENGTH + 1, histories)
    means = float(np.mean([alarms[start : start + LENGTH].sum() for start in starts]))
    block = 14
    places = random.integers(WARM, len(days) - block + 1, (4000, judged_days // block))
    resampled = np.array([[alarms[place : place + block].sum() for place in row] for row in places]).sum(1)
    upper = float(np.quantile(resampled / (judged_days // block * block) * LENGTH, 0.95))
    return {
        "quiet_days": judged_days,
        "histories": histories,
        "false_alarm_days": int(alarms.sum()),
        "false_alarms_mean_90d": round(means, 4),
        "false_alarms_upper": round(upper, 4),
        **{f"false_alarm_days_{area}": count for area, count in by_area.items()},
        **{f"false_alarm_days_{kind}": count for kind, count in kinds.items()},
    }


def planted(base: Base, days: list[Snapshot], seeds: int, policy: DriftPolicy) -> dict[str, Any]:
    """Each drift planted in a day that follows quiet ones: how often it is called that day."""
    caught = dict.fromkeys(PLANTED, 0)
    for seed in range(seeds):
        start = int(np.random.default_rng([SEED, seed]).integers(0, len(days) - WARM))
        past = days[start : start + WARM]
        for kind in PLANTED:
            calendar = Calendar(base, SEED)  # the same users and seasons as those of the quiet days
            calendar.random, calendar.number = np.random.default_rng([SEED, seed, PLANTED.index(kind)]), start + WARM
            encoder = "another onnx-fp32" if kind == "encoder_changed" else "MiniLM onnx-fp32"
            today = snapshot(calendar.day(kind), start + WARM, encoder)
            caught[kind] += judged(today, past, policy).outcome in ("watch", "act")
    rates = {f"planted_{kind}": round(count / seeds, 3) for kind, count in caught.items()}
    return {"planted": len(PLANTED), "planted_seeds": seeds, **rates, "planted_caught_rate_min": min(rates.values())}


def gradual(base: Base, days: list[Snapshot], seeds: int, policy: DriftPolicy) -> dict[str, Any]:
    """From none to a tenth of the documents in another language within ten days: after how many days it is called."""
    found = []
    for seed in range(seeds):
        start = int(np.random.default_rng([SEED, 1, seed]).integers(0, len(days) - WARM))
        past, calendar = list(days[start : start + WARM]), Calendar(base, SEED)
        calendar.random, calendar.number = np.random.default_rng([SEED, 2, seed]), start + WARM
        for step in range(1, 21):
            today = snapshot(calendar.day("other_language", min(0.1, 0.01 * step)), start + WARM + step)
            if judged(today, past, policy).outcome in ("watch", "act"):
                break
            past.append(today)
        found.append(step)
    return {
        "gradual_seeds": seeds,
        "gradual_detection_days": float(np.quantile(found, 0.9)),
        "gradual_median_days": float(np.median(found)),
    }


def memory(rows: int, folder: Path) -> dict[str, Any]:
    """The peak memory of a snapshot of a log of so many rows, and of one of a tenth; each in a process of its own."""
    import duckdb

    peaks = []
    for count in (rows // 10, rows):
        log = folder / f"log-{count}.parquet"
        db = duckdb.connect()
        db.execute("SET memory_limit = '400MB'")
        db.execute(
            f"COPY (SELECT 'u' || (hash(i) % {count // 5}) AS user_id, 'c' || (hash(i, 1) % 12) AS country,"
            f" 's' || (hash(i, 2) % 40) AS category, CAST(hash(i, 3) % 10 = 0 AS INTEGER) AS click"
            f" FROM range({count}) t(i)) TO '{log}' (FORMAT parquet)"
        )
        db.close()
        command = [sys.executable, "-m", "pipelines", "take_snapshot", "--log", str(log), "--day", "2026-01-01"]
        home = {**os.environ, "RATCHET_HOME": str(folder / "home"), "PYTHONPATH": str(PROJECT)}
        answer = subprocess.run(command, cwd=PROJECT, env=home, capture_output=True, text=True, check=True)
        name = answer.stdout.split('"snapshot":')[1].split('"')[1]
        manifest = next((folder / "home/store/snapshot" / name).glob("manifest.json"))
        peaks.append(json.loads(manifest.read_text())["cost"]["peak_memory_mb"])
    suffix = f"{rows // 1_000_000}m_rows" if rows >= 1_000_000 else f"{rows}_rows"
    return {f"peak_rss_mb_{suffix}": round(peaks[1], 1), "rss_growth_mb_1m_to_10m_rows": round(peaks[1] - peaks[0], 1)}


def main() -> int:
    """Run the proof."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=2074, help="quiet days, the first 74 of which are no more than past")
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    cache = PROJECT / "build/drift"
    cache.mkdir(parents=True, exist_ok=True)
    policy, began = read_drift_policy(""), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:  # first: a child's peak memory is at least what its parent had
        peaks = memory(options.rows, Path(scratch))
    with tempfile.TemporaryDirectory() as scratch, local_sandbox(Path(scratch) / "home").activated():
        exported = load_exactly(open_store(), "encoder", call("export_encoder").encoder)
        base = base_of(load_encoder(exported, "onnx-fp32"), cache)
        days = quiet_days(base, options.days, cache / "quiet-days.pickle")
        made = time.perf_counter()
        figures = {"collection": "electronics" if ELECTRONICS.exists() else "icons", **peaks}
        figures |= false_alarms(days, options.histories, policy)
        figures |= {"seconds_a_day": round((time.perf_counter() - made) / figures["quiet_days"], 3)}
        print(figures, flush=True)
        figures |= planted(base, days, options.seeds, policy)
        figures |= gradual(base, days, options.seeds, policy)
        print(figures, flush=True)
    if REPORTS.exists():
        figures |= json.loads(REPORTS.read_text())
    figures["minutes"] = round((time.perf_counter() - began) / 60, 1)
    goals = {name: goal for name, goal in GOALS.items() if name in figures}
    write_figures("proof/drift", figures, seed=SEED, runs=options.seeds, goals=goals)
    return 0 if all(met(figures[name], goal) for name, goal in goals.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
