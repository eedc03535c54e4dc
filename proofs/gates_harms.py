"""Harms planted into a release of the icons, and the share of seeds in which the gate's rules refuse it.

Those of `HARMS` are for the rule on quality; `proofs.segments` has those for the rules on segments and typos, and
`proofs.gates_latency` the one for the rule on latency.

Each harm ranks the test queries anew with something broken, in SEEDS variants: a seed draws what is broken and which queries
are asked. The measure of each query is compared with that of the unharmed release, at a margin for which the queries are armed.
Strengths are stated here; weaker harms are refused less often.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.measures import per_query
from pipelines.evaluation.record import Evaluation
from pipelines.retrieval.release import Release, load_release
from pipelines.statistics.intervals import Floats, bounds
from pipelines.store.objects import Store
from proofs import gates_latency, segments

SEEDS, DEPTH = 20, 100
Vectors = NDArray[np.float32]


class Harmed:
    """A release of the icons whose vectors and texts a harm may change."""

    def __init__(self, store: Store, evaluation: Evaluation) -> None:
        self.release: Release = load_release(store, evaluation.release)
        self.encoder = self.release.encoder
        self.ids = sorted(self.release.documents)
        self.texts = [self.release.documents[name].text for name in self.ids]
        self.queries = [row["text"] for row in evaluation.rows]
        self.names = [row["query"] for row in evaluation.rows]
        self.qrels = evaluation.judgments
        self.unharmed = np.array(evaluation.values("nDCG@10"))
        self.documents = self.encoder.encode(self.texts, "document")
        self.asked = self.encoder.encode(self.queries, "query")

    def ranked(self, documents: Vectors | None = None, asked: Vectors | None = None) -> NDArray[np.int64]:
        """The best documents of each query, by exact search: (queries, DEPTH)."""
        scores = (self.asked if asked is None else asked) @ (self.documents if documents is None else documents).T
        return np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]

    def values(self, ranked: NDArray[np.int64]) -> Floats:
        """nDCG@10 of each query."""
        run = {
            name: [(self.ids[document], float(DEPTH - rank)) for rank, document in enumerate(row)]
            for name, row in zip(self.names, ranked, strict=True)
        }
        found = per_query(self.qrels, run)
        return np.array([found[name]["nDCG@10"] for name in self.names])


def shuffled_rankings(one: Harmed, random: np.random.Generator) -> Floats:
    """The first ten results of 15 % of the queries are in random order."""
    ranked = one.ranked()
    for row in np.flatnonzero(random.random(len(ranked)) < 0.15):
        ranked[row, :10] = random.permutation(ranked[row, :10])
    return one.values(ranked)


def swapped_tokenizer(one: Harmed, random: np.random.Generator) -> Floats:
    """Queries are cut into tokens by a vocabulary in another order: token ids above the special ones are shifted."""
    tokens, size = one.encoder.tokens(one.queries, "query"), one.encoder.tokenizer.get_vocab_size()
    shift = int(random.integers(1, 500))
    shifted = [[token if token < 1000 else 1000 + (token - 1000 + shift) % (size - 1000) for token in row] for row in tokens]
    asked = np.empty_like(one.asked)
    for length in {len(row) for row in shifted}:  # the encoder takes texts of one length at once
        rows = [row for row, ids in enumerate(shifted) if len(ids) == length]
        asked[rows] = one.encoder.encode_tokens([shifted[row] for row in rows])
    return one.values(one.ranked(asked=asked))


def hard_quantization(one: Harmed, random: np.random.Generator) -> Floats:
    """The documents' vectors keep one bit of each of 128 randomly chosen coordinates."""
    kept = random.choice(one.documents.shape[1], 128, replace=False)
    coarse = np.zeros_like(one.documents)
    coarse[:, kept] = np.sign(one.documents[:, kept])
    return one.values(one.ranked(coarse))


def truncated_texts(one: Harmed, random: np.random.Generator) -> Floats:
    """Half of the documents' texts, randomly chosen, keep their first five characters."""
    cut = [text[:5] if random.random() < 0.5 else text for text in one.texts]
    return one.values(one.ranked(one.encoder.encode(cut, "document")))


HARMS: Mapping[str, Callable[[Harmed, np.random.Generator], Floats]] = {
    "shuffled_rankings": shuffled_rankings,
    "swapped_tokenizer": swapped_tokenizer,
    "hard_quantization": hard_quantization,
    "truncated_texts": truncated_texts,
}


def planted_harms(store: Store, evaluation: Evaluation, margin: float) -> dict[str, Any]:
    """The share of seeds in which each harm is refused, and the lowest with the upper end of its Monte Carlo interval."""
    from proofs.gates import LEVEL, wilson

    one = Harmed(store, evaluation)
    rates = {name: _refused(harm, one, margin, LEVEL) for name, harm in HARMS.items()}
    planted = segments.Planted(evaluation)
    rates["one_segment_broken"] = segments.one_segment_broken(planted, evaluation)
    rates["typo_blind_tokenizer"] = segments.typo_blind_tokenizer(planted)
    served = gates_latency.measured(store, evaluation.release, gates_latency.REQUESTS, gates_latency.STARTS)
    rates["p99_30_percent_higher"] = gates_latency.drawn_rates(served)["refused"]
    least = min(rates.values())
    refused = {f"planted_{name}_refused": rate for name, rate in rates.items()}
    counts = {"planted": len(rates), "planted_seeds": SEEDS, "planted_latency_draws": gates_latency.DRAWS}
    return {**counts, **refused, "planted_refused_rate_min": least, "planted_refused_rate_min_high": wilson(least, SEEDS)[1]}


def _refused(harm: Callable[[Harmed, np.random.Generator], Floats], one: Harmed, margin: float, level: float) -> float:
    refused = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        differences = harm(one, random) - one.unharmed
        low, high = bounds(random.choice(differences, len(differences)), level)
        refused += not (high >= 0 and low > -margin)
    return refused / SEEDS
