"""Collections for tests, as text: rows of a table, objects of a JSONL file, and words to fill them with."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from pipelines.collections.reading import readers
from pipelines.collections.reading.sources import open_source
from pipelines.collections.record import Layout, Role, Sampled
from pipelines.collections.schema.layout import infer_layout
from pipelines.collections.schema.overrides import Overrides, parse_columns

THINGS = (
    "red blue small large garden kitchen wooden steel lamp chair table knife bowl paint brush shelf winter summer cotton"
    " leather shoe jacket running walking water proof light heavy modern classic oak pine glass mirror frame hook screw"
)
WORDS = THINGS.split(" ")
random = Random(7)


def words(count: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(count))


def rows(columns: str, found: Iterable[Iterable[Any]], between: str = ",") -> str:
    """The text of a table; `columns` are the header's names, split at blanks, or nothing for none."""
    header = [between.join(columns.split(" "))] if columns else []
    return "\n".join([*header, *(between.join(f"{cell}" for cell in row) for row in found)]) + "\n"


def lines(found: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def sampled(files: dict[str, str | bytes], folder: Path) -> list[Sampled]:
    """The files as readers give them, out of a folder that they are written to."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return readers.samples(open_source(str(folder), folder).files)[0]


def laid_out(
    samples: list[Sampled], columns: Iterable[str] = (), grades: str = "", roles: dict[str, Role] | None = None
) -> Layout:
    return infer_layout(samples, Overrides(parse_columns(columns), grades, roles or {}))


def told(layout: Layout) -> list[str]:
    """The parts, a line each: role, file, side, then fields with their columns."""
    return [
        " ".join([part.role, part.file.name + (f"[{part.split}]" if part.split else "") + ("*" if part.repeats else ""),
                  *(f"{name}={'+'.join(columns)}" for name, columns in sorted(part.columns.items()))])
        for part in layout.parts
    ]  # fmt: skip
