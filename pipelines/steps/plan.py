"""plan: which documents need a vector, in how many shards."""

from pydantic import Field

from pipelines.artifacts import Artifact, Store, committed, load, load_exactly, open_store
from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.journal import Journal
from pipelines.logs import log

VERSION = 1


class PlanParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field("", description="Encoder id; empty: the champion's, else the only one in the store")
    variant: str = Field("onnx-fp32", description="Encoder variant for the documents")
    base: str = Field("", description="Embeddings to start from; empty: the champion's; 'none': encode everything")


class PlanTuning(Tuning):
    shards: int = Field(1, ge=1, le=1000, description="Shards of equal weight, each its own process or pod")


class PlanResult(Result):
    corpus: str
    encoder: str
    variant: str
    base: str
    shards: list[str]
    added: int
    changed: int
    deleted: int
    kept: int


def plan(params: PlanParams, tuning: PlanTuning) -> PlanResult:
    """Compare the corpus with the last embeddings and split what must be encoded into shards."""
    from pipelines.ranking.corpus import documents
    from pipelines.ranking.embeddings import compare, rows

    store = open_store()
    corpus = load(store, "corpus", params.corpus)
    champion = _champion(store)
    encoder = load(store, "encoder", params.encoder or _encoder(store, champion))
    base = _base(store, params, encoder, champion)
    change = compare(list(documents(corpus)), rows(base) if base else [])
    count = min(tuning.shards, len(change.to_encode))
    counts = {"added": len(change.added), "changed": len(change.changed), "deleted": len(change.deleted), "kept": change.kept}
    log().info("planned", to_encode=len(change.to_encode), shards=count, **counts)
    return PlanResult(
        corpus=corpus.id, encoder=encoder.id, variant=params.variant, base=base.id if base else "",
        shards=[f"{index}/{count}" for index in range(count)], **counts,
    )  # fmt: skip


def _champion(store: Store) -> Artifact | None:
    champion = Journal(store).routing.champion
    return load_exactly(store, "release", champion) if champion else None


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


def _base(store: Store, params: PlanParams, encoder: Artifact, champion: Artifact | None) -> Artifact | None:
    """Embeddings whose vectors may be kept: those of the same encoder and variant, else none."""
    if params.base == "none" or not (params.base or champion):
        return None
    base = load(store, "embeddings", params.base or champion.inputs["embeddings"])  # type: ignore[union-attr]
    same = base.inputs["encoder"] == encoder.id and base.manifest.recipe.params["variant"] == params.variant
    if not same and params.base:
        raise InputError(
            f"base {base.id} by another encoder or variant", f"embeddings by encoder {encoder.id}", "pass --base none"
        )
    return base if same else None
