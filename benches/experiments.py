"""`make bench-experiments`: A/B analysis of 50 million events beside pandas. Writes build/bench/experiments.json.

Both read the same Parquet file of events (user, variant, time, spend), in a process of their own. Ours is the whole command:
columns guessed, trust checks, fixed and sequential tests, report. pandas reads the needed columns and groups them by user,
which is the first step of the same analysis. Needs about 3 GB of disk and, for pandas, 8 GiB of memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.figures import write_figures

ROWS, FEWER, EVENTS_PER_USER = 50_000_000, 5_000_000, 10
GOALS = {"speedup_vs_pandas": "≥ 2", "rss_ratio_vs_pandas": "≤ 0.2", "rss_ratio_50m_5m": "≤ 1.2"}
PANDAS = """
import sys
import pandas
frame = pandas.read_parquet(sys.argv[1], columns=["user_id", "variant", "spend"])
print(len(frame.groupby(["variant", "user_id"], sort=False).agg({"spend": "sum"})))
"""


def make(path: Path, rows: int) -> None:
    """Events of users, a tenth as many; every user has one variant."""
    import duckdb

    with duckdb.connect() as db:
        db.execute("SET memory_limit = '1GB'")
        db.execute("SET preserve_insertion_order = false")
        db.execute(
            f"""COPY (
                SELECT printf('u%08d', u) AS user_id, CASE WHEN hash(u) % 2 = 0 THEN 'control' ELSE 'treatment' END AS variant,
                    TIMESTAMPTZ '2026-03-02 00:00:00+00' + to_seconds(hash(i + 1) % (14 * 86400)) AS timestamp,
                    CASE WHEN hash(i + 2) % 10 = 0
                        THEN round(-ln(((hash(i + 3) % 1000000) + 1) / 1000001.0) * 20, 2) ELSE 0.0 END AS spend
                FROM (SELECT i, hash(i) % {rows // EVENTS_PER_USER} AS u FROM range({rows}) t(i))
            ) TO '{path}' (FORMAT parquet)"""
        )


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a command."""
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise SystemExit(f"{' '.join(command[:4])} ended with {status}:\n{output[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def analysis(path: Path, home: Path) -> list[str]:
    """The whole command, in a store of its own."""
    return ["env", f"RATCHET_HOME={home}", sys.executable, "-m", "pipelines", "analyze", "--log", str(path)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--fewer", type=int, default=FEWER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-experiments-") as folder:
        root = Path(folder)
        made = {rows: root / f"events-{rows}.parquet" for rows in (options.fewer, options.rows)}
        for rows, path in made.items():
            make(path, rows)
        few_s, few_mb = measured(analysis(made[options.fewer], root / "few"))
        ours_s, ours_mb = measured(analysis(made[options.rows], root / "many"))
        pandas_s, pandas_mb = measured([sys.executable, "-c", PANDAS, str(made[options.rows])])
    figures = {
        "rows": options.rows,
        "ours_s": round(ours_s, 1),
        "pandas_s": round(pandas_s, 1),
        "speedup_vs_pandas": round(pandas_s / ours_s, 2),
        "ours_mb": round(ours_mb),
        "pandas_mb": round(pandas_mb),
        "rss_ratio_vs_pandas": round(ours_mb / pandas_mb, 3),
        "ours_5m_s": round(few_s, 1),
        "ours_5m_mb": round(few_mb),
        "rss_ratio_50m_5m": round(ours_mb / few_mb, 3),
    }
    write_figures("bench/experiments", figures, seed=0, runs=1, goals=GOALS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
