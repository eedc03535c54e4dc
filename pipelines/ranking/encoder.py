"""An encoder: texts in, unit vectors out. The artifact holds `model.onnx`, `tokenizer.json` and `encoder.json`.

Inference needs tokenizers and what computes the variant: ONNX Runtime for the server, which carries no torch.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.artifacts import Artifact
from pipelines.errors import InputError
from pipelines.logs import progress
from pipelines.ranking.backends import Files, Variant, forward_of
from pipelines.ranking.backends import Vectors as Vectors  # noqa: PLC0414  # the alias exports it

Role = Literal["query", "document"]
Item = TypeVar("Item")
Done = TypeVar("Done")
WINDOW = 2048
"""Texts that are tokenized and sorted together: enough that the odd batch at a window's end costs nothing."""
PROBES = 32
BOUND = 1e-3
"""Largest absolute difference between a stored and a re-encoded probe's coordinates that another machine may show."""


class Fingerprint(BaseModel):
    """Everything that decides what vector a text gets. Two encoders with one fingerprint are one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str
    tokenizer: str
    pooling: Literal["mean", "cls"]
    normalize: Literal[True] = True
    max_length: int
    query_prefix: str
    document_prefix: str


class EncoderCard(BaseModel):
    """`encoder.json`: the fingerprint, the vectors' size and the variants by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Fingerprint
    dimensions: int
    vocabulary: int = Field(0, ge=0, description="Tokens that the model knows; 0: not recorded")
    variants: dict[str, Variant]


class Encoder:
    """One variant of an encoder, loaded. `forward_passes` counts the batches it has run, `cut` the texts that were too long."""

    def __init__(self, card: EncoderCard, variant: str, files: Files, threads: int = 0) -> None:
        self.card, self.variant, self.forward_passes, self.cut = card, variant, 0, 0
        self.tokenizer = load_tokenizer(files("tokenizer.json"), card.fingerprint.max_length, card.vocabulary)
        self.forward = forward_of(card.variants[variant], files, card.fingerprint.pooling, threads)

    def encode(self, texts: Sequence[str], role: Role, batch_tokens: int = 2048) -> Vectors:
        """Unit vectors of `texts`, float32, shape (len(texts), dimensions), in the order given."""
        vectors = np.zeros((len(texts), self.card.dimensions), np.float32)
        finished = self.batches(texts, role, batch_tokens)
        for rows, found in progress(finished, len(texts), "texts", lambda batch: len(batch[0])) if len(texts) > 1 else finished:
            vectors[rows] = found
        return vectors

    def batches(self, texts: Sequence[str], role: Role, batch_tokens: int = 2048) -> Iterator[tuple[list[int], Vectors]]:
        """Batch after batch: the rows of `texts` that it encoded, and their unit vectors, float32, (rows, dimensions).

        Texts come by length, so that a batch holds little padding, up to `batch_tokens` tokens with it; each row comes once.
        The next texts are tokenized while a batch is computed, at most two windows ahead.
        """
        fingerprint = self.card.fingerprint
        prefix = fingerprint.query_prefix if role == "query" else fingerprint.document_prefix
        order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
        windows = [order[start : start + WINDOW] for start in range(0, len(order), WINDOW)]

        def tokenize(window: list[int]) -> list[list[int]]:
            found = self.tokenizer.encode_batch_fast([prefix + texts[row] for row in window])
            self.cut += sum(bool(one.overflowing) for one in found)
            return [one.ids for one in found]

        for window, tokens in zip(windows, ahead(tokenize, windows), strict=True):
            for batch in batch_by_tokens([len(ids) for ids in tokens], batch_tokens):
                yield [window[row] for row in batch], self._forward([tokens[row] for row in batch])

    def _forward(self, tokens: list[list[int]]) -> Vectors:
        longest = max(len(ids) for ids in tokens)
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, given in enumerate(tokens):
            ids[row, : len(given)] = given
            mask[row, : len(given)] = 1
        self.forward_passes += 1
        return self.forward(ids, mask)


def ahead(work: Callable[[Item], Done], items: Sequence[Item], depth: int = 2) -> Iterator[Done]:
    """`work` of each item in order, done in a thread up to `depth` items before it is asked for; a single one in this thread.

    >>> list(ahead(len, ["a", "bc"]))
    [1, 2]
    """
    if len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(work, item) for item in items[:depth])
        try:
            for item in items[depth:]:
                done = waiting.popleft().result()
                waiting.append(pool.submit(work, item))
                yield done
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def load_tokenizer(path: Path, max_length: int, vocabulary: int = 0) -> Any:
    """A tokenizer that cuts texts at `max_length` tokens and does not pad.

    Raises:
        InputError: the file is no tokenizer, or has tokens beyond a model's `vocabulary`; 0: any may come.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
        raise InputError(f"{path}: {error}", "a tokenizer.json of the tokenizers library", "give the model's own") from None
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if vocabulary and highest >= vocabulary:
        raise InputError(
            f"{path}: tokens up to number {highest}", f"those of the model, which ends at {vocabulary - 1}",
            "give the tokenizer that the model was trained with",
        )  # fmt: skip
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


def batch_by_tokens(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Rows sorted by length, cut so that rows × longest row stays within `batch_tokens`; never an empty batch.

    >>> batch_by_tokens([3, 9, 3, 2], 9)
    [[3, 0, 2], [1]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if batches and (len(batches[-1]) + 1) * lengths[row] <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def card_of(encoder: Artifact) -> EncoderCard:
    """The encoder's card."""
    return EncoderCard.model_validate(encoder.json("encoder.json"))


def load_encoder(encoder: Artifact, variant: str, threads: int = 0) -> Encoder:
    """The encoder's `variant`, ready to encode.

    Raises:
        InputError: it has no such variant, or the variant can't run here.
    """
    card = card_of(encoder)
    if variant not in card.variants:
        raise InputError(
            f"variant {variant!r} of encoder {encoder.id}", f"one of {', '.join(card.variants)}", "name one of these"
        )
    return Encoder(card, variant, encoder.path, threads)


def check_vectors(vectors: NDArray[Any], ids: Sequence[str]) -> None:
    """Refuse vectors that can't be searched.

    Raises:
        InputError: a value is NaN or infinite, or a vector is not of length 1; names five documents.
    """
    norms = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))
    if bad.size:
        examples = ", ".join(ids[row] for row in bad[:5])
        raise InputError(
            f"{bad.size} of {len(ids)} vectors that are not of length 1 (NaN, zero or unnormalized): {examples}",
            "finite vectors of length 1",
            "export the encoder again and check its pooling and weights",
        )
