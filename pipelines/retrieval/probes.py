"""Probes: documents of a release that a server encodes again, to know that its encoder gives the vectors that are stored."""

import numpy as np

from pipelines.corpus.documents import Document
from pipelines.embeddings import layout
from pipelines.errors import InputError
from pipelines.models.encoder import BOUND, PROBES, Encoder, Vectors
from pipelines.retrieval.low_priority import at_low_priority
from pipelines.store.artifacts import Artifact


def probe_ids(documents_: list[Document]) -> list[str]:
    """The ids of the at most 32 documents that a server encodes again before it serves: the lowest by sha256 of their text."""
    return [document.id for document in sorted(documents_, key=lambda document: (document.content, document.id))[:PROBES]]


def stored_vectors(embedded: Artifact, ids: list[str]) -> Vectors:
    """The vectors of some documents, float32, (len(ids), dimensions), in the order of `ids`."""
    row_of = {row.id: number for number, row in enumerate(layout.rows(embedded))}
    return layout.vectors_at(embedded, [row_of[document] for document in ids])


def check_probes(
    name: str, encoder: Encoder, probes: list[Document], expected: Vectors, stored_by: str = "", rests: float = 0.0
) -> float:
    """Encode probes again; returns the largest absolute difference of a coordinate to their stored vectors.

    Args:
        name: whose vectors they are, for the message.
        encoder: the variant to encode with.
        probes: documents, at least one.
        expected: their stored vectors, float32, (probes, dimensions).
        stored_by: the variant that made the stored vectors; empty: the encoder's.
        rests: above 0, each probe is encoded alone at low priority, with a pause as many times as long as it took.

    Raises:
        InputError: the difference is beyond BOUND plus the deviations of both variants.
    """
    texts = [probe.text for probe in probes]
    if rests:
        encoded = np.concatenate(at_low_priority(lambda text: encoder.encode([text], "document"), texts, rests))
    else:
        encoded = encoder.encode(texts, "document")
    deviation = float(np.abs(encoded - expected).max())
    variants = {encoder.variant, stored_by or encoder.variant}
    bound = BOUND + sum(encoder.card.variants[variant].deviation for variant in variants)
    if not deviation <= bound:
        raise InputError(
            f"{name}, whose encoder gives vectors that differ by {deviation:.3g} from the stored ones",
            f"at most {bound:.3g} over {len(probes)} documents",
            "check tokenizer, weights and variant, then embed again",
        )
    return deviation
