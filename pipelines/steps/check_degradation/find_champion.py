"""find_champion: the champion, the evaluation by which it was promoted, and the corpus of today."""

from typing import Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import NothingToDo
from pipelines.logs import log
from pipelines.store.artifacts import load, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.releases import champion_release

VERSION = 1


class FindChampionParams(Params):
    corpus: str = Field(
        "",
        description="Corpus id whose judged queries are today's; empty: the newest that has half of the champion's documents",
    )


class FindChampionResult(Result):
    release: str
    corpus: str
    promotion: str
    """The evaluation that the verdict of its promotion names."""
    split: Literal["train", "test", "all"]
    """Of that evaluation; so, too, the others: pass them to evaluate."""
    no_relevant: Literal["exclude", "zero"]
    depth: int


def find_champion(params: FindChampionParams) -> FindChampionResult:
    """Find what the champion is to be held to: its promotion's evaluation, and the judged queries of today."""
    from pipelines.corpus.newest import newest_like
    from pipelines.evaluation.record import Evaluation

    store = open_store()
    journal = Journal(store)
    champion = champion_release(journal)
    if champion is None:
        raise NothingToDo("there is no champion yet")
    entry = journal.latest("promote", to=champion.id)
    if entry is None or entry.verdict is None:
        raise NothingToDo(f"no promotion of champion {champion.id[:8]} names a verdict, so there is nothing to hold it to")
    verdict = load_exactly(store, "verdict", entry.verdict)
    promotion = Evaluation(load_exactly(store, "evaluation", verdict.inputs["evaluation"]))
    if not promotion.rows or promotion.summary["synthetic"]:
        raise NothingToDo(f"champion {champion.id[:8]} was promoted without judgments, so there is nothing to hold it to")
    corpus = load(store, "corpus", params.corpus) if params.corpus else newest_like(store, champion.inputs["corpus"])
    log().info("held to its promotion", release=champion.id, entry=entry.n, corpus=corpus.id)
    return FindChampionResult(
        release=champion.id,
        corpus=corpus.id,
        promotion=promotion.id,
        split=promotion.split,
        no_relevant=promotion.summary["no_relevant"]["rule"],
        depth=promotion.summary["depth"],
    )
