"""Figures of benches and proofs: one flat JSON file each, and the same as a table."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.conftest import PROJECT


def write_figures(name: str, figures: dict[str, Any], *, seed: int, runs: int, goals: dict[str, str] | None = None) -> Path:
    """Write `build/NAME.json`, print the table and whether each goal ("≤ 1.5", "≥ 20") is met; `name` is like "bench/spine"."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path = PROJECT / "build" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**figures, "seed": seed, "runs": runs, "date": date, "commit": commit}, indent=1) + "\n")
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
