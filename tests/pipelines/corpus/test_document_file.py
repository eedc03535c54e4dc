"""Documents that are read from their file when they are asked for."""

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.corpus.document_file import DocumentFile, Texts
from pipelines.corpus.documents import Document, documents, write_rows
from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

ROWS = [Document(id=f"d{number:03}", text="Ünï ☂ " * (1 + number % 7), title="\u2028" * (number % 3)) for number in range(200)]


@pytest.fixture
def corpus(home) -> Artifact:
    def build(folder: Path) -> dict[str, object]:
        return {"documents": write_rows(folder / "documents.jsonl", ROWS)}

    return produce(open_store(), Recipe(kind="corpus", step="ingest", version=1, inputs={}, params={}), build)


def test_it_is_what_the_documents_are(corpus):
    file = DocumentFile(corpus)
    assert dict(file) == {document.id: document for document in documents(corpus)} == {row.id: row for row in ROWS}
    assert list(file) == [row.id for row in ROWS]
    assert dict(Texts(file)) == {row.id: row.text for row in ROWS}
    assert "d000" in file
    assert "nothing" not in file
    assert file.get("nothing") is None
    assert len(Texts(file)) == 200
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(file.__getitem__, [row.id for row in ROWS] * 5)) == ROWS * 5


def test_a_deleted_blob_is_still_read_and_a_changed_one_is_refused(corpus):
    file = DocumentFile(corpus)
    path = corpus.path("documents.jsonl")
    body = path.read_bytes()
    path.unlink()
    assert file["d007"] == ROWS[7]
    path.write_bytes(body)
    path.chmod(0o600)
    file = DocumentFile(corpus)
    with path.open("r+b") as changed:
        changed.write(body.splitlines(keepends=True)[0].replace(b"d000", b"e000"))
    with pytest.raises(CorruptArtifact, match="document e000 in place of d000"):
        file["d000"]
    with path.open("r+b") as changed:
        changed.truncate(10)
    with pytest.raises(CorruptArtifact, match="no document at byte"):
        file["d150"]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_its_file_is_closed_with_it(corpus):
    gc.collect()  # what other tests left open is no file of this one
    before = open_files()
    file = DocumentFile(corpus)
    assert open_files() == before + 1
    del file
    gc.collect()
    assert open_files() == before
