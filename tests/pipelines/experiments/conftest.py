"""Logs of made experiments, whose truth is known."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml

from tests.conftest import call

START = datetime(2026, 3, 2, tzinfo=UTC)
ON = "2026-11-01"


def units(count=8000, effect=0.0, rate=0.2, days=14, seed=1, **more):
    """One row per unit; `effect` is added to the treatment's rate."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        variant = "treatment" if random.random() < more.get("share", 0.5) else "control"
        moment = START + timedelta(seconds=int(random.integers(0, days * 86_400)))
        before = float(random.lognormal(1, 1))
        bought = random.random() < rate + effect * (variant == "treatment")
        rows.append({
            "user_id": f"u{number:06}", "variant": variant, "first_seen": moment.isoformat(), "converted": int(bought),
            "spend": round(bought * float(random.lognormal(2, 0.5)) + before, 2), "spend_before": round(before, 2),
            "country": ("DE", "FR", "US")[int(random.integers(3))],
        })  # fmt: skip
    return rows


def written(path, rows):
    """Write rows as CSV, JSONL or Parquet by the name's ending; or a declaration as YAML."""
    if path.suffix == ".yaml":
        path.write_text(yaml.safe_dump(rows, sort_keys=False))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return str(path)


@pytest.fixture
def write(tmp_path):
    """`written` into this test's folder."""
    return lambda name, rows: written(tmp_path / name, rows)


@pytest.fixture
def analyze(write):
    """Analyze rows; the step's result and the stored analysis."""

    def analyzed(rows, name="log.csv", design=None, on=ON, column=()):
        from pipelines.store.artifacts import load
        from pipelines.store.objects import open_store

        options = {"log": write(name, rows), "on": on, "column": list(column)}
        if design is not None:
            options["experiment"] = write("experiment.yaml", design)
        result = call("analyze", **options)
        return result, load(open_store(), "experiment", result.experiment).json("analysis.json")

    return analyzed


@pytest.fixture
def read(write, tmp_path):
    """Analyze rows as the step does, without a report and a store; the analysis alone."""

    def analyzed(rows, name="log.csv", design=None, on=ON):
        from pipelines.experiments.analysis import analyze_log, moment_of, record_of
        from pipelines.experiments.own_log import declared_experiment, stage_any
        from pipelines.experiments.recognition import parse_overrides
        from pipelines.settings import settings

        experiment = write("experiment.yaml", design) if design is not None else ""
        source, found, since = declared_experiment(write(name, rows), experiment)
        with TemporaryDirectory(dir=tmp_path) as scratch:
            events = settings().events_folder
            staged, overrides = stage_any(source, events, found, parse_overrides([]), Path(scratch), "", since)
            with staged.db:
                return record_of(analyze_log(staged, found, overrides, moment_of(on)))

    return analyzed


def declared(**more):
    """A declaration for `units`."""
    return {
        "id": "button", "variants": {"control": 1, "treatment": 1}, "start": "2026-03-02", "planned_stop": "2026-03-16",
        "primary": {"name": "converted", "kind": "proportion", "minimum_effect": 0.05}, **more,
    }  # fmt: skip
