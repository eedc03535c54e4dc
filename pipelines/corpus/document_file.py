"""The documents of a corpus by id, read from its file one at a time: in memory are ids, fields, and where each begins."""

import os
import weakref
from collections.abc import Iterator, Mapping

import numpy as np

from pipelines.corpus.document_fields import DocumentFields
from pipelines.corpus.documents import Document, documents
from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact


class DocumentFile(Mapping[str, Document]):
    """A mapping in the order of the file, which is that of ids. Used by several threads.

    The file stays open, so a blob that is deleted meanwhile can still be read. It is not mapped into memory: pages that were
    read once would count as this process's.

    Args:
        corpus: whose documents.

    Raises:
        CorruptArtifact: a line is no document, or the file changes while it is read.
    """

    def __init__(self, corpus: Artifact) -> None:
        path = corpus.path("documents.jsonl")
        self._name = f"corpus/{corpus.id}/documents.jsonl"
        self.rows: dict[str, int] = {}
        """By id: the place of a document in the file."""
        self.fields = DocumentFields()
        for row, document in enumerate(documents(corpus)):
            self.rows[document.id] = row
            self.fields.add(row, document)
        with path.open("rb") as file:
            lengths = np.fromiter((len(line) for line in file), np.int64)
        if len(lengths) != len(self.rows):
            raise self._changed(f"{len(lengths)} lines for {len(self.rows)} ids")
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, document_id: str) -> Document:
        row = self.rows[document_id]
        start, end = self._starts[row : row + 2].tolist()
        try:
            document = Document.model_validate_json(os.pread(self._file, end - start, start))
        except ValueError as error:
            raise self._changed(f"no document at byte {start}") from error
        if document.id != document_id:
            raise self._changed(f"document {document.id} in place of {document_id}")
        return document

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def _changed(self, reason: str) -> CorruptArtifact:
        return CorruptArtifact(f"{self._name}: {reason}", "the file as it was when it was loaded", "ingest the corpus again")


class Texts(Mapping[str, str]):
    """The texts of documents by id, read when they are asked for."""

    def __init__(self, of: Mapping[str, Document]) -> None:
        self._of = of

    def __getitem__(self, document_id: str) -> str:
        return self._of[document_id].text

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
