"""Corpora and logs as they may really be: written line by line, whatever a line says."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest

DAY = "2026-03-10"
HOSTILE = (
    "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "'; DROP TABLE documents; --", '"quoted" \\ %s $HOME {x}',
    "line\u2028apart", "\u202eturned", "\ud800half", "\x1b[31mred", "nul\x00nul", "a\nb",
)  # fmt: skip


def jsonl(rows: Iterable[Any]) -> str:
    """Rows one a line; a text stands as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


@pytest.fixture
def corpus_of(home: Path) -> Callable[..., str]:
    """Store a corpus without any check of it; returns its id. Rows may be texts, for lines that are none."""

    def make(
        documents: Iterable[Any] = (), queries: Iterable[Any] = (), qrels: str = "", at: str = "", **more: Iterable[Any]
    ) -> str:
        files = {"documents.jsonl": jsonl(documents), "queries.jsonl": jsonl(queries), "qrels.txt": qrels}
        files |= {f"{name}.jsonl": jsonl(rows) for name, rows in more.items()}
        recipe = Recipe(kind="corpus", step="ingest", version=1, inputs={}, params={"files": digest(repr(files).encode())})

        def build(folder: Path) -> dict[str, Any]:
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8")
            counts = {
                name: files[file].count("\n") for name, file in (("documents", "documents.jsonl"), ("queries", "queries.jsonl"))
            }
            return {**counts, "judgments": qrels.count("\n")}

        return produce(open_store(), recipe, build).id

    return make


@pytest.fixture
def suite_of(tmp_path: Path) -> Callable[..., str]:
    """Write a suite of some checks by table; returns its path."""

    def make(name: str = "ours", extends: str = "nothing", **checks: list[dict[str, Any]]) -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, "extends": extends, "checks": checks}), encoding="utf-8")
        return str(path)

    return make


def check_of(expectation: str, level: str = "fail", mostly: float | None = None, **kwargs: Any) -> dict[str, Any]:
    """A check as a suite has it."""
    given = {"expectation": expectation, "level": level, "kwargs": kwargs}
    return given if mostly is None else {**given, "mostly": mostly}


def document(number: int, **fields: Any) -> dict[str, Any]:
    """A document that nothing is wrong with."""
    words = "a steel lamp with a long cable and a switch for the desk"
    return {"id": f"d{number}", "text": f"number {number}: {words}", "title": f"lamp {number}", "segment": "lamps", **fields}


def sound(count: int = 40) -> dict[str, Any]:
    """A corpus that passes the shipped suite."""
    return {
        "documents": [document(number) for number in range(count)],
        "queries": [{"id": f"q{number}", "text": f"lamp for desk {number}", "split": "test"} for number in range(4)],
        "qrels": "".join(f"q{number} 0 d{number} {number % 3}\n" for number in range(4)),
    }


def exposure(number: int, **fields: Any) -> dict[str, Any]:
    """An answered search that nothing is wrong with."""
    results = [{"document": f"d{place}", "position": place + 1, "score": 0.5, "propensity": 1.0} for place in range(3)]
    return {
        "request_id": f"r{number}", "at": f"{DAY}T12:00:00Z", "user": "7f", "query": "lamp", "release": "ab12",
        "policy": "champion", "entry": 1, "results": results, **fields,
    }  # fmt: skip


def click(number: int, **fields: Any) -> dict[str, Any]:
    """A click on the first result of a search."""
    return {"request_id": f"r{number}", "document": "d0", "position": 1, "at": f"{DAY}T12:00:05Z", **fields}


@pytest.fixture
def logs_of(tmp_path: Path) -> Callable[..., str]:
    """Write logs; returns their folder. `tail` stands at the end of the exposures, without a line's end."""

    def make(exposures: Iterable[Any], clicks: Iterable[Any] = (), tail: str = "") -> str:
        folder = tmp_path / "events"
        folder.mkdir(exist_ok=True)
        (folder / "exposures.jsonl").write_text(jsonl(exposures) + tail, encoding="utf-8")
        (folder / "clicks.jsonl").write_text(jsonl(clicks), encoding="utf-8")
        return str(folder)

    return make
