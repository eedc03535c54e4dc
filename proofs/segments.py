"""`make proof-segments`: harms that only rules on segments and typos see, and the errors of intervals over many segments.

A broken segment and a tokenizer that knows no typo hardly move the mean over all queries. Each harm is planted SEEDS times and
is refused where its rule names it as worse: in `pipelines.gates.segments`, in `pipelines.gates.perturbed`.
`simultaneous_figures` draws releases that are equal in every segment, with the sizes and overlaps of the icons' categories and
a real pair's differences. Writes build/proof/segments.json; the program ends with 1 where a limit is not met.
"""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.corpus.documents import Query
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.perturbations import PERTURBATIONS, WORD, perturb_queries
from pipelines.evaluation.record import Evaluation
from pipelines.evaluation.segments import segments_of
from pipelines.evaluation.word_sources import installed_sources
from pipelines.gates.perturbed import named_worse
from pipelines.models.encoder import Vectors
from pipelines.retrieval.release import load_release
from pipelines.statistics.intervals import Floats, bounds, interval
from pipelines.statistics.multiplicity import Members, means_below_zero, simultaneous_confidence
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from proofs.gate import tolerance
from proofs.rankers import call, indexed
from tests.figures import write_figures

LEVEL, LEAST_QUERIES, LEAST_DOCUMENTS = 0.95, 30, 30
MAIN = "nDCG@10"
RUNS = int(os.environ.get("RUNS", "400"))
"""Of the simulation of equal releases."""
SEEDS, DEPTH = 20, 100
TYPED = 400
"""Queries of a seed that get a typo."""


class Planted:
    """The icons' release by exact search, whose vectors and queries a harm may change."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.release = load_release(evaluation.artifact.store, evaluation.release)
        self.ids = sorted(self.release.documents)
        self.texts = [self.release.documents[name].text for name in self.ids]
        self.queries = {row["query"]: row["text"] for row in evaluation.rows}
        self.qrels = {
            row["query"]: {document["id"]: document["grade"] for document in row["relevant"]} for row in evaluation.rows
        }
        self.documents = self.release.encoder.encode(self.texts, "document")
        self.asked = self.release.encoder.encode(list(self.queries.values()), "query")
        self.unharmed = self.values(list(self.queries), self.asked)

    def values(self, names: Sequence[str], asked: Vectors, documents: Vectors | None = None) -> Floats:
        """nDCG@10 of vectors against the judgments of the queries that they stand for."""
        scores = asked @ (self.documents if documents is None else documents).T
        ranked = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        rows = {
            str(number): [(self.ids[document], float(DEPTH - rank)) for rank, document in enumerate(row)]
            for number, row in enumerate(ranked)
        }
        found = per_query({str(number): self.qrels[name] for number, name in enumerate(names)}, rows)
        return np.array([found[str(number)]["nDCG@10"] for number in range(len(names))])


def memberships(evaluation: Evaluation, field: str = "segment") -> tuple[list[str], Members]:
    """The segments with enough queries, and which queries are in each: (queries, segments)."""
    groups = segments_of(evaluation, field, evaluation.documents())
    sizes = Counter(segment for segments in groups.values() for segment in segments)
    names = sorted(segment for segment, count in sizes.items() if count >= LEAST_QUERIES)
    return names, np.array([[name in groups[row["query"]] for name in names] for row in evaluation.rows], bool)


def one_segment_broken(one: Planted, evaluation: Evaluation, seeds: int = SEEDS) -> float:
    """The share of seeds that are refused: the documents of a category, 30 or more, get random vectors."""
    names, members = memberships(evaluation)
    rows_of = {name: [row for row, id_ in enumerate(one.ids) if one.release.documents[id_].segment == name] for name in names}
    breakable = [name for name in names if len(rows_of[name]) >= LEAST_DOCUMENTS]
    refused = 0
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        broken = str(random.choice(breakable))
        documents = one.documents.copy()
        vectors = random.normal(size=documents[rows_of[broken]].shape)
        documents[rows_of[broken]] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        differences = one.values(list(one.queries), one.asked, documents) - one.unharmed
        refused += names.index(broken) in means_below_zero(differences, members, LEVEL)
    return refused / seeds


def typo_blind_tokenizer(one: Planted, seeds: int = SEEDS) -> float:
    """The share of seeds that are refused: words of no document and no judged query are unknown, as most typos are."""
    sources = dict(installed_sources(PERTURBATIONS["typo"].sources))
    known = {word.lower() for text in (*one.texts, *one.queries.values()) for word in WORD.findall(text)}
    refused = 0
    for seed in range(seeds):
        chosen = np.random.default_rng(seed).choice(list(one.queries), TYPED, replace=False)
        queries = [Query(id=name, text=one.queries[name], split="test") for name in chosen]
        copies = perturb_queries(queries, "typo", 1, seed, 0, sources).copies
        asked, typed = [copy.query for copy in copies], [copy.text for copy in copies]
        blind = [WORD.sub(lambda word: word[0] if word[0].lower() in known else "[UNK]", text) for text in typed]
        seen, unseen = (one.values(asked, one.release.encoder.encode(some, "query")) for some in (typed, blind))
        changes = (unseen - seen).tolist()  # the queries themselves rank alike, so that their values cancel
        refused += bool(named_worse({"typo": changes}, LEVEL))
    return refused / seeds


def simultaneous_figures(differences: Floats, members: Members, runs: int, seed: int = 0) -> dict[str, float]:
    """Shares of runs without any true difference: all intervals hold, and some segment is named as worse or not.

    Args:
        differences: of a real pair of releases, for each query; each run gives them random signs.
        members: which queries are in which segment.
        runs: how many.
        seed: of the signs.
    """
    random = np.random.default_rng(seed)
    held = named = held_alone = 0
    for run in range(runs):
        values = differences * random.choice([-1.0, 1.0], len(differences))
        each = simultaneous_confidence(values, members, LEVEL, run)
        at_once = [interval(values[inside], each) for inside in members.T]
        held += all(mean.low <= 0 <= mean.high for mean in at_once if mean.low is not None and mean.high is not None)
        named += any(mean.high is not None and mean.high < 0 for mean in at_once)
        alone = np.array([bounds(values[inside], LEVEL) for inside in members.T])
        held_alone += bool(((alone[:, 0] <= 0) & (alone[:, 1] >= 0)).all())
    return {
        "segments": members.shape[1],
        "segments_runs": runs,
        "segments_coverage": held / runs,
        "segments_named_falsely": named / runs,
        "segments_coverage_uncorrected": held_alone / runs,
    }


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ratchet-segments-") as folder:
        os.environ.setdefault("RATCHET_HOME", folder)
        releases = [call("assemble", index=indexed(text=text)[1]).release for text in ("label+category", "label")]
        evaluated = call("evaluate", release=releases[0], baseline=releases[1])
        store = open_store()
        worse, right = (Evaluation(load(store, "evaluation", name)) for name in (evaluated.evaluation, evaluated.baseline))
        one = Planted(right)
        differences = np.array(worse.values(MAIN)) - np.array(right.values(MAIN))
        figures = {
            "typo_blind_tokenizer_refused": typo_blind_tokenizer(one),
            "one_segment_broken_refused": one_segment_broken(one, right),
            "planted_seeds": SEEDS,
            **simultaneous_figures(differences, memberships(right)[1], RUNS),
        }
    write_figures("proof/segments", figures, seed=0, runs=RUNS)
    return 1 if missed(figures) else 0


def missed(figures: Mapping[str, float]) -> list[str]:
    """The limits that are not met: by more than three standard errors of the simulation for shares of runs."""
    error = 1 - LEVEL
    return [
        name
        for name, met in {
            "planted": min(figures["typo_blind_tokenizer_refused"], figures["one_segment_broken_refused"]) >= 0.9,
            "coverage": figures["segments_coverage"] >= LEVEL - tolerance(LEVEL, RUNS),
            "named falsely": figures["segments_named_falsely"] <= error + tolerance(error, RUNS),
        }.items()
        if not met
    ]


if __name__ == "__main__":
    sys.exit(main())
