"""A reranker: pairs of a query and a document's text in, a score for each out.

The artifact `reranker_variants` holds the variants' files, `tokenizer.json` and `variants.json`. Inference needs the tokenizers
library and the variant's backend, never torch where the variant is not torch's own.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import InputError
from pipelines.models.backends import Files, Tokens, Variant, forward_of
from pipelines.models.encoder import batch_by_tokens, load_tokenizer
from pipelines.models.reranker_card import CARD as TRAINED
from pipelines.models.reranker_card import MODEL, RerankerCard
from pipelines.store.artifacts import Artifact

KIND = "reranker_variants"
CARD = "variants.json"
BATCH_TOKENS = 4096
"""Tokens in one forward pass, at most."""
BOUND = 1e-3
"""Largest difference of a score, relative to scores above 1, that two machines may show for the same pair and variant."""

Scores = NDArray[np.float32]


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Probe(_Card):
    """A pair with its score by the original weights, by which a server checks what it loaded."""

    query: str
    document: str
    score: float = Field(allow_inf_nan=False)


class VariantsCard(_Card):
    """`variants.json`: what was trained, the size of the vocabulary, the probes and the variants by name."""

    trained: RerankerCard
    vocabulary: int = Field(ge=0)
    probes: list[Probe] = Field(min_length=1)
    variants: dict[str, Variant]


class Reranker:
    """One variant of a reranker, loaded."""

    def __init__(self, card: VariantsCard, variant: str, files: Files, threads: int = 0) -> None:
        self.card, self.variant = card, variant
        self.tokenizer = load_tokenizer(files("tokenizer.json"), card.trained.max_length, card.vocabulary)
        self.forward = forward_of(card.variants[variant], files, None, threads)

    def tokens(self, query: str, documents: Sequence[str]) -> list[Tokens]:
        """The query with each document, as the model reads them, truncated at its `max_length`."""
        return self.tokens_of_pairs([(query, document) for document in documents])

    def tokens_of_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Each pair of query and document as the model reads it."""
        encodings = self.tokenizer.encode_batch_fast(list(pairs))
        return [Tokens(encoding.ids, encoding.type_ids) for encoding in encodings]

    def score(self, pairs: Sequence[Tokens], batch_tokens: int = BATCH_TOKENS) -> Scores:
        """The score of each pair, float32, (pairs,). Batches hold pairs of one length: a score depends on its pair alone."""
        scores = np.empty(len(pairs), np.float32)
        for rows in batch_by_tokens([len(pair.ids) for pair in pairs], batch_tokens):
            scores[rows] = self.score_batch([pairs[row] for row in rows])
        return scores

    def score_batch(self, pairs: Sequence[Tokens]) -> Scores:
        """The scores of pairs of one length, by one forward pass: float32, (pairs,)."""
        ids, types = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
        return self.forward(ids, types)[:, 0]


def read_trained(reranker: Artifact) -> RerankerCard:
    """What training says of a reranker.

    Raises:
        InputError: `reranker.json` lacks something, or the model's folder lacks its configuration, weights or tokenizer.
    """
    try:
        card = RerankerCard.model_validate(reranker.json(TRAINED))
    except (ValidationError, json.JSONDecodeError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise InputError(
            f"reranker {reranker.id}, whose {TRAINED} has {'.'.join(map(str, reason['loc']))}: {reason['msg']}",
            "what train_reranker writes",
            "train it again",
        ) from None
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if f"{MODEL}/{name}" not in reranker.manifest.files:
            raise InputError(
                f"reranker {reranker.id}, whose folder {MODEL} has no {name}",
                "config.json, model.safetensors and tokenizer.json",
                "save model and tokenizer into one folder, and train it again",
            )
    return card


def card_of(variants: Artifact) -> VariantsCard:
    """The card of an artifact `reranker_variants`."""
    return VariantsCard.model_validate(variants.json(CARD))


def load_reranker(variants: Artifact, variant: str, threads: int = 0) -> Reranker:
    """Load a variant of a reranker; `threads` 0: one for each core.

    Raises:
        InputError: there is no such variant, or it can't run here.
    """
    card = card_of(variants)
    if variant not in card.variants:
        raise InputError(
            f"variant {variant!r} of reranker {variants.id}", f"one of {', '.join(card.variants)}", "name one of these"
        )
    return Reranker(card, variant, variants.path, threads)


def check_probes(name: str, reranker: Reranker) -> float:
    """Score the stored probes again; returns the largest difference to their scores by the original weights.

    Args:
        name: whose variant it is, for the message.
        reranker: the loaded variant.

    Raises:
        InputError: the difference is beyond BOUND plus the variant's deviation.
    """
    probes = reranker.card.probes
    scores = reranker.score(reranker.tokens_of_pairs([(probe.query, probe.document) for probe in probes]))
    expected = np.array([probe.score for probe in probes])
    difference = largest_difference(scores, expected)
    bound = BOUND * size_of(expected) + reranker.card.variants[reranker.variant].deviation
    if not difference <= bound:
        raise InputError(
            f"{name}, whose variant {reranker.variant} gives scores that differ by {difference:.3g} from the trained model's",
            f"at most {bound:.3g} over {len(probes)} pairs",
            "check tokenizer and weights, then run `python -m pipelines quantize_reranker` again",
        )
    return difference


def largest_difference(scores: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest absolute difference; NaN where a score is NaN."""
    return float(np.abs(scores - expected).max())


def size_of(scores: NDArray[Any]) -> float:
    """The largest absolute score, 1 at least: what rounding errors of scores are relative to."""
    return max(1.0, float(np.abs(scores).max(initial=0)))


def files_within(artifact: Artifact, folder: Path) -> Path:
    """The artifact's folder `model` as a folder on disk, in `folder`."""
    for name in artifact.manifest.files:
        if name.startswith(f"{MODEL}/"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(artifact.path(name).absolute())
    return folder / MODEL
