"""Checkpoints: the vectors that a shard's unfinished run has computed, so that a retry encodes only the rest.

`<store>/checkpoints/<shard id>/<sha256>` holds two numpy arrays, one after the other: contents (sha256 of each text,
`S64`) and vectors (float32, contents × dimensions). Each object is named by its own bytes, so two processes at the same
shard can't harm each other and a torn object is seen. No manifest names them: they are never an artifact.
"""

import io
import time
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.errors import TryAgain
from pipelines.logs import log, progress
from pipelines.models.encoder import Encoder, Vectors
from pipelines.sigterm import heard
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

ROOM = "checkpoints"


class Checkpoints:
    """The checkpoints of one shard. `pending` waits in memory until `every_s` seconds have gone by since the last object."""

    def __init__(self, store: Store, shard: str, dimensions: int, every_s: float) -> None:
        self.store, self.shard, self.dimensions, self.every_s = store, shard, dimensions, every_s
        self.folder = f"{ROOM}/{shard}"
        self.pending: list[tuple[list[str], Vectors]] = []
        self.written = time.monotonic()

    def read(self) -> dict[str, Vectors]:
        """Content to vector, of every whole object; a torn or strange one is passed over with a warning."""
        found: dict[str, Vectors] = {}
        for name in self.store.names(f"{self.folder}/"):
            try:
                found |= self._parsed(name, self.store.read(f"{self.folder}/{name}"))
            except FileNotFoundError:  # another process has committed the shard meanwhile
                continue
            except (ValueError, EOFError) as error:
                path = f"{self.store.uri}/{self.folder}/{name}"
                log().warning("a checkpoint can't be used and is passed over", path=path, reason=str(error))
        return found

    def _parsed(self, name: str, body: bytes) -> dict[str, Vectors]:
        if digest(body) != name:
            raise ValueError("its bytes are not those that its name says")
        file = io.BytesIO(body)
        contents, vectors = (np.load(file, allow_pickle=False) for _ in range(2))
        if vectors.shape != (len(contents), self.dimensions) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ValueError(f"not {len(contents)} × {self.dimensions} finite float32 numbers")
        return dict(zip((content.decode() for content in contents), vectors, strict=True))

    def add(self, contents: list[str], vectors: Vectors) -> None:
        """Keep a finished batch, in memory at first."""
        self.pending.append((contents, vectors))
        if time.monotonic() - self.written >= self.every_s:
            self.write()

    def write(self) -> None:
        """Store what is pending."""
        if self.pending:
            file = io.BytesIO()
            np.save(file, np.array([content for contents, _ in self.pending for content in contents], "S64"))
            np.save(file, np.concatenate([vectors for _, vectors in self.pending]))
            body = file.getvalue()
            self.store.create(f"{self.folder}/{digest(body)}", body)
        self.pending, self.written = [], time.monotonic()

    def remove(self) -> None:
        """Delete them all: the shard is committed."""
        for name in self.store.names(f"{self.folder}/"):
            self.store.delete(f"{self.folder}/{name}")


def encode_contents(
    encoder: Encoder, texts: dict[str, str], kept: Checkpoints, batch_tokens: int
) -> tuple[dict[str, Vectors], list[str]]:
    """One vector for each content, and which of them were not in an earlier checkpoint but encoded now.

    Args:
        texts: content to text.

    Raises:
        TryAgain: the process was told to stop; what was finished is stored.
    """
    found = {content: vector for content, vector in kept.read().items() if content in texts}
    rest = [content for content in texts if content not in found]
    log().info("encoding", shard=kept.shard, texts=len(rest), from_checkpoints=len(found))
    with heard() as told:
        for rows, vectors in _batches(encoder, [texts[content] for content in rest], batch_tokens):
            contents = [rest[row] for row in rows]
            found |= dict(zip(contents, vectors, strict=True))
            kept.add(contents, vectors)
            if told():
                kept.write()
                raise TryAgain(
                    f"a step told to stop when {len(found)} of {len(texts)} texts were encoded",
                    "time for the rest",
                    "run it again: what is done is kept",
                )
    return found, rest


def _batches(encoder: Encoder, texts: Sequence[str], batch_tokens: int) -> Iterator[tuple[list[int], Vectors]]:
    finished = encoder.batches(texts, "document", batch_tokens)
    return progress(finished, len(texts), "texts", lambda batch: len(batch[0])) if len(texts) > 1 else finished
