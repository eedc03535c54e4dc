"""The encoder variants of a step that is given none: the champion's, so that a refresh keeps its vectors."""

from typing import NamedTuple

from pipelines.store.artifacts import Artifact, find
from pipelines.store.journal import Journal
from pipelines.store.recipes import Recipe
from pipelines.store.releases import champion_release

DEFAULT_VARIANT = "onnx-fp32"
"""The variant that every encoder has."""


class Variants(NamedTuple):
    """By which variants of its encoder a release encodes."""

    document: str
    query: str


def serves(journal: Journal, encoder: str) -> bool:
    """Whether the champion is by this encoder; one that is no longer in the store counts as none."""
    champion = champion_release(journal, missing_ok=True)
    return champion is not None and champion.inputs["encoder"] == encoder


def champions_encoder(journal: Journal, recipe: Recipe) -> Artifact | None:
    """The champion's encoder if its recipe is this one but for the variants, which depend on the machine that exported it."""
    champion = champion_release(journal, missing_ok=True)
    encoder = find(journal.store, "encoder", champion.inputs["encoder"]) if champion else None
    if encoder is None:
        return None
    before, now = (
        one.model_copy(update={"params": {**one.params, "variants": []}}) for one in (encoder.manifest.recipe, recipe)
    )
    return encoder if before == now else None


def default_variants(journal: Journal, encoder: str) -> Variants:
    """The champion's variants if it is by this encoder, else `onnx-fp32` for documents and queries.

    A variant is measured for one encoder, so the champion's says nothing of another encoder's.

    Args:
        journal: which names the champion. A champion that is no longer in the store counts as none.
        encoder: the id of the encoder that encodes.
    """
    champion = champion_release(journal, missing_ok=True)
    if champion is None or champion.inputs["encoder"] != encoder:
        return Variants(DEFAULT_VARIANT, DEFAULT_VARIANT)
    embedded = find(journal.store, "embeddings", champion.inputs["embeddings"])
    document = embedded.manifest.recipe.params["variant"] if embedded else DEFAULT_VARIANT
    return Variants(document, champion.manifest.recipe.params["query_variant"])
