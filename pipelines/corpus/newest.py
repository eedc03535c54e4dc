"""The newest state of a collection: corpora of one collection share most of their documents."""

from pipelines.corpus.documents import documents
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.objects import Store

SHARED = 0.5
"""The part of a corpus's documents that another must have to be a later state of it."""


def newest_like(store: Store, own: str) -> Artifact:
    """The newest corpus that has half of the documents of `own`, maybe itself: others are of another collection."""
    found = [load_exactly(store, "corpus", name) for name in committed(store, "corpus")]
    newest = sorted(found, key=lambda corpus: (str(corpus.manifest.provenance["at"]), corpus.id), reverse=True)
    ids = {document.id for document in documents(load_exactly(store, "corpus", own))}
    for corpus in newest:
        if corpus.id == own or len(ids & {document.id for document in documents(corpus)}) >= SHARED * len(ids):
            return corpus
    return load_exactly(store, "corpus", own)
