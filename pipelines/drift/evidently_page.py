"""Evidently's own page of two samples: it computes and draws what it has; the decision is not its.

Vectors go in as at most COMPONENTS principal components: its tests of whole vectors take minutes.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.drift.snapshot import read_sample
from pipelines.logs import log
from pipelines.settings import bound_evidently
from pipelines.store.artifacts import Artifact

TABLES = ("documents", "queries", "log_queries", "searches")
COMPONENTS = 16
ROWS = 500
"""Rows of each sample that go in."""


def write_evidently(path: Path, reference: Artifact, current: Artifact) -> bool:
    """Write Evidently's page of the first table with columns or vectors that both have; whether there is one."""
    alike = reference.facts["encoder"] == current.facts["encoder"]
    tables = [name for name in TABLES if all(f"{name}.npz" in one.manifest.files for one in (reference, current))]
    frames = [_frames(reference, current, name, alike) for name in tables]
    before, now, components = next((one for one in frames if not one[0].empty and not one[1].empty), (None, None, []))
    if before is None:
        return False
    try:
        _page(before, now, components).save_html(str(path))
    except Exception as error:  # noqa: BLE001  # whatever the library raises: its page is no part of the decision
        log().warning("evidently made no page", reason=f"{type(error).__name__}: {error}"[:200])
        path.unlink(missing_ok=True)
        return False
    return True


def _frames(reference: Artifact, current: Artifact, table: str, alike: bool) -> tuple[Any, Any, list[str]]:
    (first, _, first_vectors), (second, _, second_vectors) = (read_sample(one, table) for one in (reference, current))
    frames = [_frame(rows) for rows in (first, second)]
    components: list[str] = []
    if alike and first_vectors is not None and second_vectors is not None:
        both = np.concatenate([first_vectors[:ROWS], second_vectors[:ROWS]]).astype(np.float64)
        directions = np.linalg.svd(both - both.mean(0), full_matrices=False)[2][:COMPONENTS]
        components = [f"component {number}" for number in range(len(directions))]
        for frame, vectors in zip(frames, (first_vectors, second_vectors), strict=True):
            frame[components] = (vectors[:ROWS] - both.mean(0)) @ directions.T
    shared = [name for name in frames[0].columns if name in frames[1].columns and frames[1][name].notna().any()]
    return frames[0][shared], frames[1][shared], components


def _frame(rows: Any) -> Any:
    import pandas as pd

    columns = {name: [column.values[code] for code in column.codes[:ROWS]] for name, column in rows.columns.items()}
    return pd.DataFrame({**columns, **{name: values[:ROWS] for name, values in rows.numbers.items()}})


def _page(before: Any, now: Any, components: list[str]) -> Any:
    bound_evidently()
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    plain = [name for name in before.columns if name not in components]
    categories = [name for name in plain if before[name].dtype == object]
    definition = DataDefinition(
        numerical_columns=[*(name for name in plain if name not in categories), *components], categorical_columns=categories
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in (now, before)]
        return Report([DataDriftPreset(columns=[*plain, *components])]).run(*sides)
