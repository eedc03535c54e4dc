"""What a refresh has to encode: which documents, in how many shards, and for how long."""

from dataclasses import dataclass
from typing import Any

from pipelines.embeddings.refresh import Change, aligned, estimate_tokens
from pipelines.errors import InputError
from pipelines.models.encoder import card_of
from pipelines.store.artifacts import Artifact, load
from pipelines.store.objects import Store


@dataclass(frozen=True)
class RefreshPlan:
    """The work of a refresh."""

    change: Change
    shards: int
    estimate_s: float | None
    """Seconds; none where the rate of this encoder variant is not known."""

    @property
    def sentence(self) -> str:
        """The plan in one line."""
        duration = "time unknown, this encoder variant has not been measured"
        if self.estimate_s is not None:
            duration = f"~{self.estimate_s:,.0f} s"
        pods = f"{self.shards} pod{'s' * (self.shards != 1)}"
        return f"{self.change.to_encode:,} of {self.change.documents:,} documents, {duration}, {pods}"


def plan_refresh(
    corpus: Artifact,
    base: Artifact | None,
    encoder: Artifact,
    rates: dict[str, Any],
    *,
    least_shards: int,
    shard_tokens: int,
    shard_documents: int,
) -> RefreshPlan:
    """Count what a corpus has that its base lacks, and divide it into shards.

    Args:
        corpus: the documents to have vectors of.
        base: embeddings whose vectors are kept; None: none are.
        encoder: whose longest input bounds the tokens of a text.
        rates: `tokens_per_s` of one process and `start_s`, the seconds before its first batch; empty: unknown.
        least_shards: shards at least.
        shard_tokens, shard_documents: about the most that one shard has.
    """
    change = count_change(corpus, base, encoder)
    for_documents, for_tokens = -(-change.to_encode // shard_documents), -(-change.tokens // shard_tokens)
    shards = min(max(for_documents, for_tokens, least_shards), change.to_encode)
    return RefreshPlan(change, shards, estimate(change.tokens, shards, rates))


def count_change(corpus: Artifact, base: Artifact | None, encoder: Artifact) -> Change:
    """How many documents were added, changed, deleted and kept, and about how many tokens are to be encoded."""
    change, max_length = Change(), card_of(encoder).fingerprint.max_length
    for row in aligned(corpus, [base] if base else []):
        if change.count(row) and row.document:
            change.tokens += estimate_tokens(row.document.text, max_length)
    return change


def estimate(tokens: int, shards: int, rates: dict[str, Any]) -> float | None:
    """Seconds that `tokens` take in shards that run side by side; none where the rate is not known.

    >>> estimate(12_000, 2, {"tokens_per_s": 1000, "start_s": 1.5}), estimate(0, 0, {}), estimate(12_000, 2, {})
    (7.5, 0.0, None)
    """
    if not tokens:
        return 0.0
    if not rates.get("tokens_per_s"):
        return None
    return round(float(rates["start_s"] + tokens / shards / rates["tokens_per_s"]), 1)


def last_embeddings(store: Store, base: str, encoder: Artifact, variant: str, champion: Artifact | None) -> Artifact | None:
    """The embeddings `base`, else the champion's, if they are by this encoder variant, so that their vectors may be kept."""
    embeddings = base or (champion.inputs["embeddings"] if champion else "")
    if not embeddings:
        return None
    last = load(store, "embeddings", embeddings)
    if (last.inputs["encoder"], last.manifest.recipe.params["variant"]) == (encoder.id, variant):
        return last
    if base:
        given = f"base {last.id} by another encoder or variant"
        raise InputError(given, f"embeddings by encoder {encoder.id}", "leave out --base")
    return None
