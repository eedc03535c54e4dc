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
    """Write `build/NAME.json` and print the table; `name` is for example "bench/spine"."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path = PROJECT / "build" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**figures, "seed": seed, "runs": runs, "date": date, "commit": commit}, indent=1) + "\n")
    table = Table("figure", "value", "goal", title=name)
    for key, value in figures.items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value), (goals or {}).get(key, ""))
    Console().print(table)
    print(f"written to {path.relative_to(PROJECT)}")
    return path
