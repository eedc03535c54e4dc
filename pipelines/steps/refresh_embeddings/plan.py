"""plan: which documents need a vector, in how many shards, and how long that takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, committed, load
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.releases import champion_release

if TYPE_CHECKING:
    from pipelines.evaluation.automatic_variant import AutomaticChoice, Measured

VERSION = 1


class PlanParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field("", description="Encoder id; empty: the champion's, else the only one in the store")
    variant: str = Field(
        "",
        description="Encoder variant for the documents; empty: the champion's, in a first release by measuring",
    )
    measure_from: int = Field(
        5000, ge=0, description="Documents from which on a first release measures which variant is fastest; fewer: onnx-fp32"
    )
    least_queries: int = Field(2000, ge=2, description="Train queries and titles that it needs; with fewer: onnx-fp32")
    choosing_share: float = Field(0.1, ge=0, description="Part of the encode's time in fp32 that this measurement may cost")
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
    variant_reason: str
    """Why this variant, in one sentence."""
    choice: str
    """The report of the measurement that chose it; empty: none was needed."""
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
    """What becomes the dag run's note: what a dry run found, or which variant was chosen; empty: neither."""


def plan(params: PlanParams, tuning: PlanTuning) -> PlanResult:
    """Compare the corpus with the last embeddings and split what must be encoded into shards."""
    from pipelines.embeddings.planning import last_embeddings, plan_refresh

    store = open_store()
    corpus = load(store, "corpus", params.corpus)
    journal = Journal(store)
    champion = champion_release(journal)
    encoder = load(store, "encoder", params.encoder or _encoder(store, champion))
    chosen = _variant(params, journal, encoder, corpus)
    variant = chosen.variant
    last = last_embeddings(store, params.base, encoder, variant, champion)
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
    log().info("variant", variant=variant, reason=chosen.sentence)
    log().info("planned", sentence=refresh.sentence)
    return PlanResult(
        corpus=corpus.id,
        encoder=encoder.id,
        variant=variant,
        variant_reason=chosen.sentence,
        choice=chosen.report,
        base=base.id if base else "",
        mode="incremental" if base else "encoder change" if champion and not last else "full",
        shards=[f"{number}/{refresh.shards}" for number in range(refresh.shards)],
        documents=refresh.change.documents,
        estimate_s=refresh.estimate_s,
        sentence=refresh.sentence,
        dry_run=params.dry_run,
        note=f"DRY RUN: {refresh.sentence}" if params.dry_run else chosen.sentence if chosen.report else "",
        **refresh.change.counts,
    )


def _variant(params: PlanParams, journal: Journal, encoder: Artifact, corpus: Artifact) -> "AutomaticChoice":
    """The variant that is named, else the champion's, else for a first release the fastest that ranks as fp32 does."""
    from pipelines.embeddings.planning import count_change
    from pipelines.evaluation.automatic_variant import AutomaticChoice, Limits, automatic_variant
    from pipelines.reports.choice import write_automatic_report
    from pipelines.retrieval.champion_variants import default_variants, serves

    document, query = default_variants(journal, encoder.id)
    if params.variant:
        return AutomaticChoice(params.variant, f"{params.variant} is taken: it was named")
    if params.base:
        document = str(load(journal.store, "embeddings", params.base).manifest.recipe.params["variant"])
    if params.base or serves(journal, encoder.id):
        return AutomaticChoice(document, f"{document} is kept: the vectors before are by it")
    if params.dry_run:
        return AutomaticChoice(document, f"{document} is assumed: a dry run measures no other variant")
    tokens = count_change(corpus, None, encoder).tokens

    def write(folder: Path, measured: "Measured | str") -> None:
        write_automatic_report(folder, encoder.id, corpus, measured, query)

    limits = Limits(params.measure_from, params.least_queries, params.choosing_share)
    return automatic_variant(encoder, corpus, query, tokens, limits, write)


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
