"""find_reference: the champion, the corpus that it was made from, and the corpus of today."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import NothingToDo
from pipelines.logs import log
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.releases import champion_release

VERSION = 1


class FindReferenceParams(Params):
    corpus: str = Field(
        "", description="Corpus id of today's documents; empty: the newest that has half of the champion's documents"
    )
    day: str = Field(
        "", description="The day that is looked at, such as 2026-01-31; empty: yesterday (UTC), the last that is over"
    )


class FindReferenceResult(Result):
    release: str
    reference: str
    """The champion's corpus."""
    corpus: str
    day: str
    promoted: str
    """The day on which the release became champion."""


def find_reference(params: FindReferenceParams) -> FindReferenceResult:
    """Find what a day is compared with: the champion and its corpus; and the corpus of that day."""
    from pipelines.corpus.newest import newest_like
    from pipelines.drift.days import day_of

    day = day_of(params.day)
    store = open_store()
    journal = Journal(store)
    champion = champion_release(journal)
    if champion is None:
        raise NothingToDo("there is no champion yet, so there is no reference")
    own = champion.inputs["corpus"]
    corpus = load(store, "corpus", params.corpus) if params.corpus else newest_like(store, own)
    entry = journal.deployment()
    log().info("compared with the champion's snapshot", release=champion.id, reference=own, corpus=corpus.id, day=day)
    return FindReferenceResult(
        release=champion.id, reference=own, corpus=corpus.id, day=day, promoted=entry.at[:10] if entry else day
    )
