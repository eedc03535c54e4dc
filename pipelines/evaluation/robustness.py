"""Robustness to reformulation: how a release ranks copies of the judged queries, beside how it ranks the queries themselves.

A query's copies are one unit: its change is the mean over its copies, and intervals are over queries. So ten copies of a query
say no more of other queries than one does. Two releases are compared by difference in differences: how much more, or less,
the same copies cost the challenger than the champion.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.perturbations import PerturbedQuery
from pipelines.evaluation.qrels import Topics
from pipelines.evaluation.record import Evaluation
from pipelines.retrieval.release import Release
from pipelines.retrieval.run import break_ties
from pipelines.statistics.intervals import Interval, interval
from pipelines.store.artifacts import Artifact, load
from pipelines.store.objects import Store

ROWS = "perturbed_queries.jsonl"


@dataclass(frozen=True)
class Perturbations:
    """A stored set of perturbed queries."""

    artifact: Artifact

    @property
    def id(self) -> str:
        return self.artifact.id

    @property
    def queries_digest(self) -> str:
        """The digest of the judged queries that they are copies of."""
        return str(self.artifact.facts["queries_digest"])

    @property
    def status(self) -> Mapping[str, Mapping[str, Any]]:
        """By perturbation: `status` (made or not run), `reason`, and how many queries and copies."""
        status: Mapping[str, Mapping[str, Any]] = self.artifact.facts["perturbations"]
        return status

    def copies(self) -> list[PerturbedQuery]:
        """Every copy, in the order of the file."""
        with self.artifact.path("perturbed.jsonl").open(encoding="utf-8") as file:
            return [PerturbedQuery(**json.loads(line)) for line in file]


def check_copies(perturbations: Perturbations, evaluation: Evaluation) -> None:
    """Refuse copies of other queries than those of the evaluation.

    Raises:
        InputError: the queries, their judgments, the split or the rule differ.
    """
    if perturbations.queries_digest != evaluation.summary["queries_digest"]:
        raise InputError(
            f"perturbations {perturbations.id} of queries {perturbations.queries_digest}, and evaluation {evaluation.id} of"
            f" queries {evaluation.summary['queries_digest']}",
            "copies of the evaluated queries",
            f"run `python -m pipelines perturb --evaluation {evaluation.id}`",
        )


def check_judge(perturbations: Perturbations, release: str, weights: str) -> None:
    """Refuse paraphrases that were chosen by the encoder which is measured on them: it would pick those that suit it.

    Raises:
        InputError: the judge of meaning has the weights of the release's encoder.
    """
    judge = perturbations.artifact.facts["judge"]
    if judge and weights.startswith(judge):
        raise InputError(
            f"release {release}, whose encoder chose the paraphrases of {perturbations.id}",
            "a judge of meaning that ranks nothing",
            "leave synonym and back_translation out",
        )


def rank_copies(
    release: Release, copies: Sequence[PerturbedQuery], topics: Topics, depth: int, own: Mapping[str, set[str]]
) -> list[dict[str, float]]:
    """The measures of each copy against its query's judgments, in the order of the copies.

    Args:
        release: what ranks.
        copies: of queries of the topics.
        topics: with the judgments.
        depth: documents ranked for each copy.
        own: by query id, documents that the query's ranking leaves out.
    """
    by_id = {query.id: query for query in topics.queries}
    names = [str(number) for number in range(len(copies))]
    named = dict(zip(names, copies, strict=True))
    queries = [by_id[copy.query].model_copy(update={"id": name, "text": copy.text}) for name, copy in named.items()]
    left_out = {name: own[copy.query] for name, copy in named.items() if copy.query in own}
    run = {name: break_ties(ranking) for name, ranking in zip(names, release.rank(queries, depth, left_out), strict=True)}
    qrels = {name: topics.qrels[copy.query] for name, copy in named.items()}
    measured = per_query(qrels, run)
    return [measured[name] for name in names]


@dataclass(frozen=True)
class Robustness:
    """The measurement of one release on perturbed queries."""

    release: str
    perturbations: str
    """The id of the perturbed queries."""
    status: Mapping[str, Mapping[str, Any]]
    """As `Perturbations.status`."""
    rows: Sequence[Mapping[str, Any]]
    """A row for each copy: `perturbation`, `query`, `text`, `original`, and the measures `before` and `after`."""

    def changes(self, perturbation: str, measure: str) -> dict[str, float]:
        """By query, the change of a measure, after − before, as the mean over the query's copies; sorted by query."""
        values: dict[str, list[float]] = {}
        for row in self.rows:
            if row["perturbation"] == perturbation:
                values.setdefault(row["query"], []).append(row["after"][measure] - row["before"][measure])
        return {query: sum(changes) / len(changes) for query, changes in sorted(values.items())}

    def before(self, perturbation: str, measure: str) -> dict[str, float]:
        """By query that has a copy, the measure of the query as it was asked; sorted by query."""
        values = {row["query"]: row["before"][measure] for row in self.rows if row["perturbation"] == perturbation}
        return dict(sorted(values.items()))


def measured_robustness(
    evaluation: Evaluation, perturbations: Perturbations, copies: Sequence[PerturbedQuery], after: Sequence[Mapping[str, float]]
) -> Robustness:
    """The measures of the copies beside those that the evaluation has of their queries."""
    before = {row["query"]: row["release"] for row in evaluation.rows}
    rows = [{**vars(copy), "before": before[copy.query], "after": one} for copy, one in zip(copies, after, strict=True)]
    return Robustness(evaluation.release, perturbations.id, perturbations.status, rows)


def write_rows(folder: Path, robustness: Robustness) -> None:
    """Write the rows as an artifact keeps them."""
    with (folder / ROWS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in robustness.rows)


def read_robustness(artifact: Artifact) -> Robustness:
    """A stored measurement."""
    with artifact.path(ROWS).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return Robustness(artifact.inputs["release"], artifact.inputs["perturbations"], artifact.facts["perturbations"], rows)


def robustness_of(store: Store, robustness: str, evaluation: Evaluation | None) -> Robustness | None:
    """The stored measurement with this id; none where none is named.

    Raises:
        InputError: there is none with this id, or it is of another evaluation.
    """
    if not robustness:
        return None
    artifact = load(store, "robustness", robustness)
    if evaluation is None or artifact.inputs["evaluation"] != evaluation.id:
        raise InputError(
            f"robustness {artifact.id} of evaluation {artifact.inputs['evaluation']}",
            f"one of evaluation {evaluation.id}" if evaluation else "none, since there is no evaluation beside it",
            "run `python -m pipelines measure_robustness` with the same evaluations",
        )
    return read_robustness(artifact)


@dataclass(frozen=True)
class Drop:
    """What a perturbation costs a release, and what it costs the challenger beside the champion."""

    perturbation: str
    copies: int
    before: float
    """The mean of the measure over the queries that have a copy."""
    change: Interval
    """After − before, over queries: below 0 is a drop."""
    champion: Interval | None
    """The champion's change on the same copies; none: there is no champion."""
    beside: Interval | None
    """The challenger's change − the champion's, over queries."""


def differences_in_change(challenger: Robustness, champion: Robustness, perturbation: str, measure: str) -> list[float]:
    """By query, the challenger's change − the champion's on the same copies.

    Raises:
        InputError: they were measured on different copies.
    """
    if challenger.perturbations != champion.perturbations:
        raise InputError(
            f"releases {challenger.release} and {champion.release} measured on different copies",
            "one set of perturbed queries",
            "run `python -m pipelines measure_robustness` with both evaluations",
        )
    others = champion.changes(perturbation, measure)
    return [change - others[query] for query, change in challenger.changes(perturbation, measure).items()]


def differences_after(challenger: Robustness, champion: Robustness, perturbation: str, measure: str) -> list[float]:
    """By query, the measure of its copies by the challenger − by the champion."""
    before, others = challenger.before(perturbation, measure), champion.before(perturbation, measure)
    changes = differences_in_change(challenger, champion, perturbation, measure)
    return [change + before[query] - others[query] for query, change in zip(before, changes, strict=True)]


def drops(challenger: Robustness, champion: Robustness | None, measure: str, confidence: float) -> Iterator[Drop]:
    """The drop of each perturbation that was made."""
    for name, status in challenger.status.items():
        if status["status"] != "made":
            continue
        before = list(challenger.before(name, measure).values())
        beside = [] if champion is None else differences_in_change(challenger, champion, name, measure)
        yield Drop(
            perturbation=name,
            copies=status["copies"],
            before=sum(before) / len(before),
            change=interval(list(challenger.changes(name, measure).values()), confidence),
            champion=interval(list(champion.changes(name, measure).values()), confidence) if champion else None,
            beside=interval(beside, confidence, least=-2, most=2) if champion else None,
        )
