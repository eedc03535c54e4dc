"""Figures of benches and proofs: one flat JSON file each, and the same as a table."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.conftest import PROJECT

FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16", "amx_tile": "AMX"}


def machine() -> str:
    """This machine in a few words: cores, memory, the processor's name and what matters of its features."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = set(known.get("flags", "").split())
    features = [word for flag, word in FEATURES.items() if flag in flags and not (flag == "avx2" and "avx512f" in flags)]
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return f"{os.cpu_count()} cores of {known.get('model name', 'a processor')} ({', '.join(features)}), {memory} GiB"


def write_figures(name: str, figures: dict[str, Any], *, seed: int, runs: int, goals: dict[str, str] | None = None) -> Path:
    """Write `build/NAME.json`, print the table and whether each goal ("≤ 1.5", "≥ 20") is met; `name` is like "bench/spine"."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path = PROJECT / "build" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({**figures, "seed": seed, "runs": runs, "date": date, "commit": commit, "machine": machine()}, indent=1)
        + "\n"
    )
    table = Table("figure", "value", "goal", "met", title=name)
    results = {key: met(figures[key], goal) for key, goal in (goals or {}).items()}
    for key, value in figures.items():
        result = {True: "yes", False: "NO", None: ""}[results.get(key)]
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value), (goals or {}).get(key, ""), result)
    Console().print(table)
    if results:
        print(f"{sum(results.values())} of {len(results)} goals met{missed(results)}")
    print(f"written to {path.relative_to(PROJECT)}")
    return path


def met(value: float, goal: str) -> bool:
    """Whether a figure keeps its goal.

    >>> met(1.3, "≤ 1.5"), met(19, "≥ 20")
    (True, False)
    """
    sign, bound = goal.split()
    return {"≤": value <= float(bound), "≥": value >= float(bound)}[sign]


def missed(results: dict[str, bool]) -> str:
    """The figures that miss their goal, to stand behind how many keep theirs."""
    names = [name for name, result in results.items() if not result]
    return f"; missed: {', '.join(names)}" if names else ""
