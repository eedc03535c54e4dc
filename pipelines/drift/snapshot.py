"""A snapshot: a day of documents, queries and searches as sketches, with a sample of rows for people and permutations.

The artifact holds `sketches.json`, and for each table `NAME.npz` (the measured rows of the sample), `NAME.npy` (their vectors)
and `NAME.jsonl` (their ids and texts).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.drift.rows import Column, Rows, Sketch, random_features
from pipelines.models.encoder import Vectors
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import canonical, digest


@dataclass(frozen=True)
class Table:
    """The rows of one table: the sketch of all, and a sample."""

    sketch: Sketch
    sample: Rows
    texts: list[dict[str, str]]
    """Id, text, title and picture of each row of the sample; empty: the rows have no text."""
    vectors: Vectors | None = None
    sampling: str = ""
    """How the sample was drawn."""


@dataclass(frozen=True)
class Snapshot:
    """What a day was like."""

    name: str
    """Its id."""
    day: str
    """As 2026-01-31."""
    encoder: str
    """Encoder and variant of its vectors and tokens; empty: it has none."""
    sketches: dict[str, Sketch]
    release: str = ""
    """That ranked its probes; empty: it has none."""


def write_snapshot(folder: Path, tables: Mapping[str, Table]) -> None:
    """Write the files of a snapshot."""
    sketches = {name: _as_json(table.sketch) for name, table in tables.items()}
    (folder / "sketches.json").write_bytes(canonical(sketches))
    for name, table in tables.items():
        np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **_arrays(table.sample))
        if table.vectors is not None:
            np.save(folder / f"{name}.npy", np.asarray(table.vectors, np.float32))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.texts)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def _as_json(sketch: Sketch) -> dict[str, Any]:
    content = asdict(sketch)
    for name in ("features", "words"):
        values = content[name]
        content[name] = None if values is None else [round(float(value), 6) for value in values]
    return content


def _arrays(rows: Rows) -> dict[str, Any]:
    arrays: dict[str, Any] = {"units": rows.units}
    if rows.words is not None:
        arrays |= {"words": rows.words, "ends": rows.ends}
    arrays |= {f"number {name}": values for name, values in rows.numbers.items()}
    for name, column in rows.columns.items():
        arrays |= {f"codes {name}": column.codes, f"values {name}": np.array(column.values, dtype=np.str_)}
    return arrays


def read_snapshot(artifact: Artifact) -> Snapshot:
    """The sketches of a snapshot."""
    content = artifact.json("sketches.json")
    sketches = {name: _sketch(given) for name, given in content.items()}
    return Snapshot(artifact.id, artifact.facts["day"], artifact.facts["encoder"], sketches, artifact.facts["release"])


def _sketch(given: dict[str, Any]) -> Sketch:
    arrays = {name: None if given[name] is None else np.array(given[name], float) for name in ("features", "words")}
    numbers = {name: tuple(sums) for name, sums in given["numbers"].items()}
    outcomes = {
        column: {number: {value: tuple(pair) for value, pair in by.items()} for number, by in numbered.items()}
        for column, numbered in given["outcomes"].items()
    }
    return Sketch(**{**given, **arrays, "numbers": numbers, "outcomes": outcomes})


def read_sample(artifact: Artifact, table: str) -> tuple[Rows, list[dict[str, str]], Vectors | None]:
    """The sample of a table: measured rows, their texts, their vectors."""
    with np.load(artifact.path(f"{table}.npz"), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    has_vectors = f"{table}.npy" in artifact.manifest.files
    vectors = np.load(artifact.path(f"{table}.npy"), allow_pickle=False) if has_vectors else None
    columns = {
        name.removeprefix("codes "): Column(codes, [str(value) for value in arrays[f"values {name.removeprefix('codes ')}"]])
        for name, codes in arrays.items()
        if name.startswith("codes ")
    }
    numbers = {name.removeprefix("number "): values for name, values in arrays.items() if name.startswith("number ")}
    features = None if vectors is None else random_features(vectors)
    rows = Rows(arrays["units"], columns, numbers, features, arrays.get("words"), arrays.get("ends"))
    lines = artifact.text(f"{table}.jsonl").split("\n")[:-1]  # splitlines would split at U+2028, too
    return rows, [json.loads(line) for line in lines], vectors


def digest_tables(tables: Mapping[str, Table]) -> str:
    """The sha256 of what a snapshot of tables would hold, for its recipe."""
    return digest(canonical({name: [_as_json(table.sketch), table.sampling] for name, table in tables.items()}))
