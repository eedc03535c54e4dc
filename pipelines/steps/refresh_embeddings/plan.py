"""plan: which documents need a vector, in how many shards, and how long that takes."""

from typing import Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, committed, load
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.releases import champion_release

VERSION = 1


class PlanParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field("", description="Encoder id; empty: the champion's, else the only one in the store")
    variant: str = Field(
        "", description="Encoder variant for the documents; empty: the champion's if it is by this encoder, else onnx-fp32"
    )
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
    note: str
    """What a dry run found, which becomes the dag run's note; empty: the plan is followed."""


def plan(params: PlanParams, tuning: PlanTuning) -> PlanResult:
    """Compare the corpus with the last embeddings and split what must be encoded into shards."""
    from pipelines.embeddings.planning import plan_refresh
    from pipelines.retrieval.champion_variants import default_variants

    store = open_store()
    corpus = load(store, "corpus", params.corpus)
    journal = Journal(store)
    champion = champion_release(journal)
    encoder = load(store, "encoder", params.encoder or _encoder(store, champion))
    variant = params.variant or default_variants(journal, encoder.id).document
    last = _last_embeddings(store, params.base, encoder, variant, champion)
    base = last if params.mode == "incremental" else None
    refresh = plan_refresh(
        corpus,
        base,
        encoder,
        last.facts if last else {},
        least_shards=tuning.shards,
        shard_tokens=tuning.shard_tokens,
        shard_documents=tuning.shard_documents,
    )
    log().info("planned", sentence=refresh.sentence)
    return PlanResult(
        corpus=corpus.id,
        encoder=encoder.id,
        variant=variant,
        base=base.id if base else "",
        mode="incremental" if base else "encoder change" if champion and not last else "full",
        shards=[f"{number}/{refresh.shards}" for number in range(refresh.shards)],
        documents=refresh.change.documents,
        estimate_s=refresh.estimate_s,
        sentence=refresh.sentence,
        dry_run=params.dry_run,
        note=f"DRY RUN: {refresh.sentence}" if params.dry_run else "",
        **refresh.change.counts,
    )


def _encoder(store: Store, champion: Artifact | None) -> str:
    """The champion's encoder, else the only one in the store."""
    if champion:
        return champion.inputs["encoder"]
    ids = committed(store, "encoder")
    if len(ids) != 1:
        raise InputError(
            f"no champion and {len(ids)} encoders in {store.uri}",
            "one encoder to choose",
            f"pass --encoder, one of {', '.join(ids)}" if ids else "run `python -m pipelines export_encoder`",
        )
    return ids[0]


def _last_embeddings(store: Store, base: str, encoder: Artifact, variant: str, champion: Artifact | None) -> Artifact | None:
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
