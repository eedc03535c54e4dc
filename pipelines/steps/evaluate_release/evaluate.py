"""evaluate: a release ranks the judged queries, beside a baseline (BM25, or popularity) and beside the champion."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import anchor_id, champion_release, resolve

VERSION = 3


class EvaluateParams(Params):
    release: str = Field(description="Release id")
    corpus: str = Field("", description="Corpus whose queries and judgments are asked; empty: the release's own")
    split: Literal["train", "test", "all"] = Field("test", description="Which queries are asked")
    baseline: str = Field("champion", description="Compare with: champion, challenger, none, or a release id")
    depth: int = Field(100, ge=100, le=10_000, description="Documents ranked for each query; R@100 needs 100")
    confidence: float = Field(0.95, ge=0.8, le=0.999, description="Confidence of the intervals")
    no_relevant: Literal["exclude", "zero"] = Field(
        "exclude", description="A judged query without a relevant document: leave it out, or count it with 0"
    )


class EvaluateResult(Result):
    evaluation: str
    baseline: str
    """The baseline's evaluation on the same queries; empty: there is no baseline."""
    release: str
    champion: str
    """The release that is compared with; empty: none."""
    anchor: str
    """The anchor's evaluation on the same queries; empty: the anchor is compared with already, or there is none."""
    ndcg_at_10: float | None
    """Mean nDCG@10 with its interval; none: no query was judged."""
    low: float | None
    high: float | None
    found: bool


def evaluate(params: EvaluateParams) -> EvaluateResult:
    """Measure a release on judged queries, and champion and anchor on the same ones."""
    store = open_store()
    release = load(store, "release", params.release)
    corpus = load(store, "corpus", params.corpus or release.inputs["corpus"])
    champion = _baseline_release(store, params.baseline)
    baseline = _evaluation(champion, corpus, params) if champion and champion.id != release.id else None
    anchor = _anchor(store, params.baseline, {release.id, champion.id if champion else ""})
    anchored = _evaluation(anchor, corpus, params) if anchor else None
    evaluation = _evaluation(release, corpus, params)
    ndcg = evaluation.facts["measures"]["nDCG@10"]
    log().info("evaluated", release=release.id, queries=evaluation.facts["queries"], ndcg_at_10=ndcg["mean"])
    return EvaluateResult(
        evaluation=evaluation.id,
        baseline=baseline.id if baseline else "",
        release=release.id,
        champion=champion.id if champion else "",
        anchor=anchored.id if anchored else "",
        ndcg_at_10=ndcg["mean"],
        low=ndcg["low"],
        high=ndcg["high"],
        found=all(one.found for one in (evaluation, baseline, anchored) if one),
    )


def _baseline_release(store: Store, baseline: str) -> Artifact | None:
    """The release to compare with; None where nothing is named, or there is no champion yet."""
    if baseline == "none":
        return None
    journal = Journal(store)
    return champion_release(journal) if baseline in ("", "champion") else resolve(journal, baseline)


def _anchor(store: Store, baseline: str, measured: set[str]) -> Artifact | None:
    """The release that no challenger may fall below; None where it is measured already, or nothing is compared."""
    anchor = anchor_id(Journal(store)) if baseline != "none" else ""
    return load(store, "release", anchor) if anchor and anchor not in measured else None


def _evaluation(release: Artifact, corpus: Artifact, params: EvaluateParams) -> Artifact:
    from pipelines.evaluation.qrels import own_documents

    inputs = {"release": release.id, "corpus": corpus.id}
    semantic = params.recipe_params({"release", "corpus", "baseline"})
    own = own_documents(corpus, params.split, params.no_relevant)
    semantic |= {"own_documents": "left out"} if own else {}  # evaluations of other corpora keep their ids
    recipe = Recipe(kind="evaluation", step="evaluate", version=VERSION, inputs=inputs, params=semantic)
    return produce(release.store, recipe, lambda folder: _measure(release, corpus, params, own, folder))


def _measure(
    release: Artifact, corpus: Artifact, params: EvaluateParams, own: dict[str, set[str]], folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation.baselines import baseline_runs, past_interactions
    from pipelines.evaluation.blended import blend_measures
    from pipelines.evaluation.measures import per_query
    from pipelines.evaluation.qrels import judged_topics
    from pipelines.evaluation.record import rows_of, summary_of, write_evaluation
    from pipelines.evaluation.stages import stage_measures
    from pipelines.reports.evaluation import write_evaluation_report
    from pipelines.retrieval.release import load_release
    from pipelines.retrieval.run import break_ties

    topics = judged_topics(corpus, params.split, params.no_relevant)
    loaded = load_release(release.store, release.id)
    past = past_interactions(corpus, topics)
    ranked = loaded.rank_stages(topics.queries, params.depth, past.seen if past else own)
    by_query = {query.id: rankings for query, rankings in zip(topics.queries, ranked, strict=True)}
    runs = {
        "release": {query: break_ties(rankings.result) for query, rankings in by_query.items()},
        **baseline_runs(
            {document.id: document.text for document in loaded.documents.values()}, topics, past, params.depth, own
        ),
    }
    scores = {side: per_query(topics.qrels, run) for side, run in runs.items()}
    summary = summary_of(topics, scores, params.confidence)
    if loaded.ranker:
        summary["stages"] = stage_measures(topics, loaded.card.stages, by_query, scores["release"], params.confidence)
    if loaded.stored_features:
        summary["blend"] = blend_measures(topics, loaded.stored_features, by_query, params.confidence)
    summary |= {"release": release.id, "corpus": corpus.id, "depth": params.depth, "own_documents": len(own)}
    rows = rows_of(topics, runs["release"], scores, loaded.documents)
    write_evaluation(folder, topics, runs, summary, rows)
    write_evaluation_report(folder, summary, rows, loaded.documents)
    means = {measure: sides["release"] for measure, sides in summary["measures"].items()}
    counted = {key: summary[key] for key in ("queries", "queries_digest", "unjudged", "synthetic", "no_relevant")}
    return {**counted, "measures": means, "forward_passes": loaded.encoder.forward_passes}
