"""ingest: a collection becomes a corpus artifact."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.artifacts import Recipe, digest_file, open_store, produce
from pipelines.contract import Params, Result
from pipelines.errors import InputError

VERSION = 1
FILES = ("documents.jsonl", "queries.jsonl", "qrels.txt")


class IngestParams(Params):
    collection: Literal["icons"] = Field("icons", description="Which collection to read")
    folder: str = Field("", description="Folder that holds the collection's metadata/; empty: the installed package")
    text: Literal["label", "label+category"] = Field("label", description="What of a document is encoded and searched")


class IngestResult(Result):
    corpus: str
    documents: int
    queries: int
    judgments: int
    found: bool


def ingest(params: IngestParams) -> IngestResult:
    """Read a collection, check it and store it as a corpus; equal content gives the same id."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ratchet-ingest-") as folder:
        counts = _write(params, Path(folder))
        inputs = {name: digest_file(Path(folder) / name) for name in FILES}
        recipe = Recipe(kind="corpus", step="ingest", version=VERSION, inputs=inputs, params={})
        corpus = produce(open_store(), recipe, lambda target: _move(Path(folder), target, {**counts, **params.model_dump()}))
    return IngestResult(corpus=corpus.id, found=corpus.found, **counts)


def _write(params: IngestParams, folder: Path) -> dict[str, int]:
    from pipelines.ranking.corpus import write_rows
    from pipelines.ranking.icons import read_icons

    documents, queries, qrels = read_icons(Path(params.folder) if params.folder else None, params.text)
    if not documents:
        raise InputError(f"collection {params.collection} without documents", "at least one document", "check --folder")
    (folder / "qrels.txt").write_text("".join(qrel.line() + "\n" for qrel in qrels), encoding="utf-8")
    return {
        "documents": write_rows(folder / "documents.jsonl", documents),
        "queries": write_rows(folder / "queries.jsonl", queries),
        "judgments": len(qrels),
    }


def _move(source: Path, target: Path, facts: dict[str, object]) -> dict[str, object]:
    for name in FILES:
        (source / name).rename(target / name)
    return facts
