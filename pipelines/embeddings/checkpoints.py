"""Checkpoints of an unfinished shard: the vectors computed so far, so that a retry encodes only the rest.

`<store>/checkpoints/<shard id>/<sha256>` holds two numpy arrays, one after the other: contents (sha256 of each text,
`S64`) and vectors (float32, contents × dimensions). Objects are named by the sha256 of their bytes, so that two processes can
write to one shard and a torn object is detected. Checkpoints are not artifacts: no manifest names them.
"""

import io
import time
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.errors import TryAgain
from pipelines.logs import log, progress
from pipelines.models.encoder import Encoder, Vectors
from pipelines.sigterm import defer_sigterm
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of one shard. Batches are pending in memory until `every_s` seconds after the last write."""

    def __init__(self, store: Store, shard: str, dimensions: int, every_s: float) -> None:
        self.store, self.shard, self.dimensions, self.every_s = store, shard, dimensions, every_s
        self.folder = f"{FOLDER}/{shard}"
        self.pending: list[tuple[list[str], Vectors]] = []
        self.written = time.monotonic()

    def read(self) -> dict[str, Vectors]:
        """All vectors by content; an object that is torn or not a checkpoint is skipped with a warning."""
        vectors: dict[str, Vectors] = {}
        for name in self.store.names(f"{self.folder}/"):
            try:
                vectors |= self._parsed(name, self.store.read(f"{self.folder}/{name}"))
            except FileNotFoundError:  # another process committed the shard and removed its checkpoints
                continue
            except (ValueError, EOFError) as error:
                path = f"{self.store.uri}/{self.folder}/{name}"
                log().warning("a checkpoint can't be used and is passed over", path=path, reason=str(error))
        return vectors

    def _parsed(self, name: str, body: bytes) -> dict[str, Vectors]:
        if digest(body) != name:
            raise ValueError("its sha256 is not its name")
        file = io.BytesIO(body)
        contents, vectors = (np.load(file, allow_pickle=False) for _ in range(2))
        if vectors.shape != (len(contents), self.dimensions) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ValueError(f"not {len(contents)} × {self.dimensions} finite float32 numbers")
        return dict(zip((content.decode() for content in contents), vectors, strict=True))

    def add(self, contents: list[str], vectors: Vectors) -> None:
        """Add a finished batch; it is stored with the next write."""
        self.pending.append((contents, vectors))
        if time.monotonic() - self.written >= self.every_s:
            self.write()

    def write(self) -> None:
        """Store the pending batches as one object."""
        if self.pending:
            file = io.BytesIO()
            np.save(file, np.array([content for contents, _ in self.pending for content in contents], "S64"))
            np.save(file, np.concatenate([vectors for _, vectors in self.pending]))
            body = file.getvalue()
            self.store.create(f"{self.folder}/{digest(body)}", body)
        self.pending, self.written = [], time.monotonic()

    def remove(self) -> None:
        """Delete all checkpoints of the shard, once it is committed."""
        for name in self.store.names(f"{self.folder}/"):
            self.store.delete(f"{self.folder}/{name}")


def encode_contents(
    encoder: Encoder, texts: dict[str, str], checkpoints: Checkpoints, batch_tokens: int
) -> tuple[dict[str, Vectors], list[str]]:
    """Encode the texts that are in no checkpoint.

    Args:
        encoder: encodes them as documents.
        texts: text by content.
        checkpoints: of the shard; finished batches are added to them.
        batch_tokens: tokens in one batch.

    Returns:
        a vector (float32, (dimensions,)) for each content, and the contents that were encoded now.

    Raises:
        TryAgain: the process received SIGTERM; the finished batches are stored.
    """
    encoded = {content: vector for content, vector in checkpoints.read().items() if content in texts}
    rest = [content for content in texts if content not in encoded]
    log().info("encoding", shard=checkpoints.shard, texts=len(rest), from_checkpoints=len(encoded))
    with defer_sigterm() as stop_requested:
        for rows, vectors in _batches(encoder, [texts[content] for content in rest], batch_tokens):
            contents = [rest[row] for row in rows]
            encoded |= dict(zip(contents, vectors, strict=True))
            checkpoints.add(contents, vectors)
            if stop_requested():
                checkpoints.write()
                raise TryAgain(
                    f"a step told to stop when {len(encoded)} of {len(texts)} texts were encoded",
                    "time for the rest",
                    "run it again: what is done is kept",
                )
    return encoded, rest


def _batches(encoder: Encoder, texts: Sequence[str], batch_tokens: int) -> Iterator[tuple[list[int], Vectors]]:
    batches = encoder.batches(texts, "document", batch_tokens)
    return progress(batches, len(texts), "texts", lambda batch: len(batch[0])) if len(texts) > 1 else batches
