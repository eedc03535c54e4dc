"""plan: which documents need a vector, in how many shards, and how long that takes."""

from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, committed, load, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store

VERSION = 1


class PlanParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field("", description="Encoder id; empty: the champion's, else the only one in the store")
    variant: str = Field("onnx-fp32", description="Encoder variant for the documents")
    mode: Literal["incremental", "full"] = Field("incremental", description="full: encode every document, keep no vector")
    base: str = Field("", description="Embeddings to start from; empty: the champion's, if they are by this encoder variant")
    dry_run: bool = Field(False, description="Only say what would be encoded and how long it takes")


class PlanTuning(Tuning):
    shards: int = Field(1, ge=1, le=1000, description="Shards of equal weight at least, each its own process or pod")
    shard_tokens: int = Field(150_000, ge=1000, description="Tokens in one shard at most, about: minutes of work, not hours")
    shard_documents: int = Field(100_000, ge=1, description="Documents in one shard at most, which bounds its memory")


class PlanResult(Result):
    corpus: str
    encoder: str
    variant: str
    base: str
    mode: str
    """incremental, full, or encoder change: beside the champion's embeddings, which serve on."""
    shards: list[str]
    documents: int
    added: int
    changed: int
    deleted: int
    kept: int
    tokens: int
    """About how many are to be encoded."""
    estimate_s: float | None
    """Seconds that this takes at the rate that this encoder variant had last; none where it has not been measured."""
    sentence: str
    dry_run: bool


def plan(params: PlanParams, tuning: PlanTuning) -> PlanResult:
    """Compare the corpus with the last embeddings and split what must be encoded into shards."""
    store = open_store()
    corpus = load(store, "corpus", params.corpus)
    champion = _champion(store)
    encoder = load(store, "encoder", params.encoder or _encoder(store, champion))
    last = _last(store, params, encoder, champion)
    base = last if params.mode == "incremental" else None
    change = _change(corpus, [base] if base else [], encoder)
    most = max(-(-change.to_encode // tuning.shard_documents), -(-change.tokens // tuning.shard_tokens), tuning.shards)
    count = min(most, change.to_encode)
    estimate = _estimate(change.tokens, count, last.facts if last else {})
    log().info("planned", sentence=(sentence := _sentence(change, estimate, count)))
    return PlanResult(
        corpus=corpus.id, encoder=encoder.id, variant=params.variant, base=base.id if base else "",
        mode="incremental" if base else "encoder change" if champion and not last else "full",
        shards=[f"{number}/{count}" for number in range(count)], documents=change.documents, estimate_s=estimate,
        sentence=sentence, dry_run=params.dry_run, **change.counts,
    )  # fmt: skip


def _change(corpus: Artifact, base: list[Artifact], encoder: Artifact) -> Any:
    from pipelines.embeddings.refresh import Change, aligned, estimate_tokens
    from pipelines.models.encoder import card_of

    change, limit = Change(), card_of(encoder).fingerprint.max_length
    for one in aligned(corpus, base):
        if change.count(one) and one.document:
            change.tokens += estimate_tokens(one.document.text, limit)
    return change


def _estimate(tokens: int, shards: int, facts: dict[str, Any]) -> float | None:
    if tokens and not facts.get("tokens_per_s"):
        return None
    return round(facts["start_s"] + tokens / shards / facts["tokens_per_s"], 1) if tokens else 0.0


def _sentence(change: Any, estimate: float | None, shards: int) -> str:
    time = "time unknown, this encoder variant has not been measured" if estimate is None else f"~{estimate:,.0f} s"
    return f"{change.to_encode:,} of {change.documents:,} documents, {time}, {shards} pod{'s' * (shards != 1)}"


def _champion(store: Store) -> Artifact | None:
    return load_exactly(store, "release", one) if (one := Journal(store).routing.champion) else None


def _encoder(store: Store, champion: Artifact | None) -> str:
    if champion:
        return champion.inputs["encoder"]
    ids = committed(store, "encoder")
    if len(ids) != 1:
        raise InputError(
            f"no champion and {len(ids)} encoders in {store.uri}", "one encoder to choose",
            "run `python -m pipelines export_encoder`" if not ids else f"pass --encoder, one of {', '.join(ids)}",
        )  # fmt: skip
    return ids[0]


def _last(store: Store, params: PlanParams, encoder: Artifact, champion: Artifact | None) -> Artifact | None:
    """Embeddings whose vectors may be kept: those of the same encoder and variant, else none."""
    if not (params.base or champion):
        return None
    base = load(store, "embeddings", params.base or champion.inputs["embeddings"])  # type: ignore[union-attr]
    same = (base.inputs["encoder"], base.manifest.recipe.params["variant"]) == (encoder.id, params.variant)
    if not same and params.base:
        given = f"base {base.id} by another encoder or variant"
        raise InputError(given, f"embeddings by encoder {encoder.id}", "leave out --base")
    return base if same else None
