"""Corpus artifacts of a few rows, for tests of what is done with a corpus, however it was read."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from pipelines.corpus.documents import Document, Interaction, Query, User
from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest

CHORUS = Path(__file__).parents[2] / "shared/data/chorus"
"""The electronics: a real collection, which is no part of the project and is looked for beside it."""


def write_corpus(
    documents: Sequence[Document], queries: Sequence[Query] = (), qrels: Sequence[str] = (),
    interactions: Sequence[Interaction] = (), users: Sequence[User] = (), seed: int = 0,
    facts: Mapping[str, float] | None = None,
) -> str:  # fmt: skip
    """Make a corpus in the store that the environment names; its id.

    Documents come in the order of their ids, as `ingest` leaves them; other rows as given, or with a `seed` in any order.
    `facts` are more that its manifest says, such as the least value of a choice.
    """
    files = {
        "documents.jsonl": _lines(sorted(documents, key=lambda one: one.id)),
        "queries.jsonl": _lines(queries),
        "qrels.txt": list(qrels),
    }
    files |= {name: _lines(rows) for name, rows in (("interactions.jsonl", interactions), ("users.jsonl", users)) if rows}
    if seed:
        shuffled = {name: random.Random(seed).sample(lines, len(lines)) for name, lines in files.items()}
        files = shuffled | {"documents.jsonl": files["documents.jsonl"]}
    contents = {name: "".join(line + "\n" for line in lines) for name, lines in files.items()}

    def build(folder: Path) -> dict[str, float]:
        for name, content in contents.items():
            (folder / name).write_text(content, encoding="utf-8")
        return {"documents": len(documents), "queries": len(queries), "judgments": len(qrels), **(facts or {})}

    inputs = {name: digest(content.encode()) for name, content in contents.items()}
    return produce(open_store(), Recipe(kind="corpus", step="ingest", version=1, inputs=inputs, params={}), build).id


def _lines(rows: Sequence[BaseModel]) -> list[str]:
    return [row.model_dump_json(exclude_defaults=True) for row in rows]
