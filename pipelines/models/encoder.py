"""An encoder: texts in, unit vectors out. The artifact holds `model.onnx`, `tokenizer.json` and `encoder.json`.

Inference needs the tokenizers library and the variant's backend; the server has ONNX Runtime and no torch.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import InputError
from pipelines.logs import progress
from pipelines.models.backends import Files, Head, Variant, forward_of
from pipelines.models.backends import Vectors as Vectors  # noqa: PLC0414  # the alias exports it
from pipelines.store.artifacts import Artifact

Role = Literal["query", "document"]
Item = TypeVar("Item")
Output = TypeVar("Output")
WINDOW = 2048
"""Texts that are tokenized together, at least; more where a batch holds more tokens, so that batches fill up."""
FEW = 256
"""Texts whose encoding shows no progress: a server encodes so many at a time, and several times at once."""
PROBES = 32
"""Stored documents that are encoded again to verify an encoder, at most."""
BOUND = 1e-3
"""Largest absolute difference of a coordinate that two machines may show for the same text and variant."""


class Fingerprint(BaseModel):
    """Everything that determines a text's vector. Encoders with equal fingerprints are the same encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str
    tokenizer: str
    pooling: str = Field(pattern="^[a-z_]+([+][a-z_]+)*$", description="Modes of pooling, joined by +")
    normalize: Literal[True] = True
    max_length: int
    query_prefix: str
    document_prefix: str
    lower_case: bool = Field(False, description="Whether the texts' letters are lowered before the tokenizer")
    layers: str = Field("", description="sha256 of what follows pooling, before normalization; empty: nothing")


class EncoderCard(BaseModel):
    """`encoder.json`: the fingerprint, the vectors' dimensions and the variants by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: Fingerprint
    dimensions: int
    vocabulary: int = Field(0, ge=0, description="Size of the model's vocabulary; 0: not recorded")
    variants: dict[str, Variant]


def head_of(fingerprint: Fingerprint) -> Head:
    """How token vectors become one."""
    return Head(fingerprint.pooling, bool(fingerprint.layers))


class Encoder:
    """One variant of an encoder, loaded. `forward_passes` counts its batches, `cut` the texts that were truncated."""

    def __init__(self, card: EncoderCard, variant: str, files: Files, threads: int = 0) -> None:
        self.card, self.variant, self.forward_passes, self.cut = card, variant, 0, 0
        self.tokenizer = load_tokenizer(files("tokenizer.json"), card.fingerprint.max_length, card.vocabulary)
        self.forward = forward_of(card.variants[variant], files, head_of(card.fingerprint), threads)

    def encode(self, texts: Sequence[str], role: Role, batch_tokens: int = 2048) -> Vectors:
        """Unit vectors of `texts`, float32, shape (len(texts), dimensions), in the order of the texts."""
        vectors = np.zeros((len(texts), self.card.dimensions), np.float32)
        batches = self.batches(texts, role, batch_tokens)
        if len(texts) > FEW:
            batches = progress(batches, len(texts), "texts", lambda batch: len(batch[0]))
        for rows, encoded in batches:
            vectors[rows] = encoded
        return vectors

    def batches(self, texts: Sequence[str], role: Role, batch_tokens: int = 2048) -> Iterator[tuple[list[int], Vectors]]:
        """Encode batch by batch: the rows of `texts` in a batch, and their unit vectors, float32, (rows, dimensions).

        A batch holds texts of one length, up to `batch_tokens` tokens. Each row comes once, short texts first.
        The next texts are tokenized while a batch is computed, at most two windows ahead.
        """
        order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
        size = max(WINDOW, batch_tokens)
        windows = [order[start : start + size] for start in range(0, len(order), size)]
        tokenized = prefetch(lambda window: self.tokens([texts[row] for row in window], role), windows)
        for window, tokens in zip(windows, tokenized, strict=True):
            for batch in batch_by_tokens([len(ids) for ids in tokens], batch_tokens):
                yield [window[row] for row in batch], self.encode_tokens([tokens[row] for row in batch])

    def tokens(self, texts: Sequence[str], role: Role) -> list[list[int]]:
        """Each text's token ids, with the role's prefix, truncated at the fingerprint's `max_length`."""
        fingerprint = self.card.fingerprint
        prefix = fingerprint.query_prefix if role == "query" else fingerprint.document_prefix
        encodings = self.tokenizer.encode_batch_fast([prefix + text for text in texts])
        self.cut += sum(bool(encoding.overflowing) for encoding in encodings)
        return [encoding.ids for encoding in encodings]

    def encode_tokens(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """Unit vectors of texts of one length, given as token ids, by one forward pass: float32, (texts, dimensions).

        A text without tokens has no direction: its vector is 0, which `check_vectors` refuses.
        """
        if not tokens[0]:
            return np.zeros((len(tokens), self.card.dimensions), np.float32)
        self.forward_passes += 1
        return self.forward(np.array(tokens, np.int64))


def prefetch(work: Callable[[Item], Output], items: Sequence[Item], depth: int = 2) -> Iterator[Output]:
    """`map(work, items)`, computed in a thread up to `depth` items ahead; a single item is computed in the caller's thread.

    >>> list(prefetch(len, ["a", "bc"]))
    [1, 2]
    """
    if len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(1) as pool:
        futures = deque(pool.submit(work, item) for item in items[:depth])
        try:
            for item in items[depth:]:
                output = futures.popleft().result()
                futures.append(pool.submit(work, item))
                yield output
            while futures:
                yield futures.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def load_tokenizer(path: Path, max_length: int, vocabulary: int = 0) -> Any:
    """A tokenizer that truncates texts at `max_length` tokens and does not pad.

    Args:
        path: a `tokenizer.json`.
        max_length: tokens of a text, at most.
        vocabulary: the size of the model's vocabulary; 0: unknown, not checked.

    Raises:
        InputError: the file is no tokenizer, or has token ids beyond the vocabulary.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
        raise InputError(f"{path}: {error}", "a tokenizer.json of the tokenizers library", "give the model's own") from None
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if vocabulary and highest >= vocabulary:
        raise InputError(
            f"{path}: token ids up to {highest}",
            f"at most {vocabulary - 1}, the model's last",
            "give the tokenizer that the model was trained with",
        )
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


def batch_by_tokens(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Batches of rows of one length, the shortest first, with rows × length ≤ `batch_tokens` or a single row.

    Texts are not padded to a common length: kernels sum in another order for another length, so that in bf16 a text's
    vector would depend on the longest text of its batch.

    >>> batch_by_tokens([3, 9, 3, 2, 3, 3], 9)
    [[3], [0, 2, 4], [5], [1]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        same_length = bool(batches) and lengths[batches[-1][0]] == lengths[row]
        if same_length and (len(batches[-1]) + 1) * lengths[row] <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def card_of(encoder: Artifact) -> EncoderCard:
    """The card of an encoder artifact."""
    return EncoderCard.model_validate(encoder.json("encoder.json"))


def load_encoder(encoder: Artifact, variant: str, threads: int = 0) -> Encoder:
    """Load a variant of an encoder; `threads` 0: OMP_NUM_THREADS, without it one for each core.

    Raises:
        InputError: the encoder has no such variant, or the variant can't run here.
    """
    card = card_of(encoder)
    if variant not in card.variants:
        raise InputError(
            f"variant {variant!r} of encoder {encoder.id}", f"one of {', '.join(card.variants)}", "name one of these"
        )
    return Encoder(card, variant, encoder.path, threads)


def check_vectors(vectors: NDArray[Any], ids: Sequence[str]) -> None:
    """Check that vectors, (len(ids), dimensions), are finite and of length 1 ± 0.001.

    Raises:
        InputError: some are not; the message names up to five ids.
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
