"""The choice among measured variants: one rule for encoders (`variant_choice`) and rerankers (`reranker_choice`).

A variant may be taken if it ranks as fp32 does (`fidelity`) and is batch-invariant: what is computed of a text does not depend
on the other texts of its batch. Dynamic quantization is not, since it takes its scales from the batch, nor are some bf16
kernels, which sum in another order for another shape. The fastest of those is taken.
"""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from pipelines.errors import InputError
from pipelines.evaluation.fidelity import LEAST_FIDELITY, LEAST_RETENTION, Fidelity, why_unfaithful
from pipelines.models.backends import Vectors, cpu_features, gpu, library_versions
from pipelines.statistics.bootstrap import paired_ratio_of_means
from pipelines.statistics.intervals import Floats
from pipelines.store.recipes import canonical, digest

Item = TypeVar("Item")
Model = TypeVar("Model")
REFERENCE = "onnx-fp32"
BATCH_TOLERANCE = 1e-5
"""Largest difference of a coordinate or a score, encoded alone and in a batch, at which a variant counts as batch-invariant."""
PROBES, RANDOM_BATCHES = 4, 20
"""Texts that are encoded alone and in batches, and random batches for each of them."""
LEAST_QUERIES = 2
"""Queries without which a fidelity has no interval."""


@dataclass(frozen=True)
class VariantMeasurement:
    """What was measured of one variant. The fields are keys of the table that the step's report keeps."""

    variant: str
    reason: str = ""
    """Why it is not taken; empty: it may be."""
    docs_per_s: float = 0.0
    """Documents encoded or reranked in a second."""
    fidelity: float = 0.0
    """Mean agreement with fp32's ranking, by `measure_fidelity`; `fidelity_low` is the lower bound of its 95 % interval."""
    fidelity_low: float = 0.0
    overlap_at_10: float = 0.0
    retention: float | None = None
    """Mean nDCG@10 divided by fp32's; `low` and `high` are its 95 % interval. None: no train query is judged."""
    low: float | None = None
    high: float | None = None
    mates: float = 0.0
    """The largest difference that other texts of a batch make: see `influence_of_mates`."""
    cosine: float = 0.0
    """Of an encoder: the least cosine between a document's vector and its vector by REFERENCE."""
    memory_mb: float = 0.0
    """Peak memory in MiB; 0: not measured."""


@dataclass(frozen=True)
class Rule:
    """What a variant must reach to be taken."""

    fidelity: float = LEAST_FIDELITY
    """The lower bound of its fidelity, at least."""
    retention: float = LEAST_RETENTION
    """The upper bound of its retention of nDCG@10, at least."""


RULE = Rule()
"""Where nothing else is asked for."""


def loadable(names: Sequence[str], load: Callable[[str], Model]) -> tuple[dict[str, Model], list[VariantMeasurement]]:
    """The variants that can run on this machine, loaded, and a row with the reason for each that can't.

    Args:
        names: of the variants.
        load: gives a variant by its name; raises InputError where it can't run.
    """
    loaded, unavailable = {}, []
    for name in names:
        try:
            loaded[name] = load(name)
        except InputError as error:
            unavailable.append(VariantMeasurement(name, f"cannot run here: {error.given}"))
    return loaded, unavailable


def why_not_taken(mates: float, fidelity: Fidelity, retention_high: float | None, rule: Rule) -> str:
    """Why a variant may not be taken; empty: it may.

    >>> why_not_taken(3e-3, Fidelity(2000, 50, 0.9991, 0.9988, 0.9993, 0.98), None, Rule())
    'batch-mates change it by 3.0e-03'
    """
    unstable = "" if mates <= BATCH_TOLERANCE else f"batch-mates change it by {mates:.1e}"
    return "; ".join(filter(None, [unstable, why_unfaithful(fidelity, retention_high, rule.fidelity, rule.retention)]))


def kept(scores: Sequence[float], reference: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """The retention of nDCG@10 with its interval; three times None where no judged query has a result to lose.

    >>> kept([0.5, 0.5], [0.5, 0.5]), kept([], []), kept([0.0], [0.0])
    ((1.0, 1.0, 1.0), (None, None, None), (None, None, None))
    """
    return paired_ratio_of_means(scores, reference) if sum(reference) else (None, None, None)


def fastest(rows: Sequence[VariantMeasurement]) -> tuple[VariantMeasurement, list[VariantMeasurement]]:
    """The fastest variant that may be taken, and all rows, fastest first, each with its reason: the other ones are slower.

    Raises:
        InputError: none may be taken.
    """
    by_speed = sorted(rows, key=lambda row: -row.docs_per_s)
    best = next((row for row in by_speed if not row.reason), None)
    if best is None:
        given = "; ".join(f"{row.variant}: {row.reason}" for row in by_speed)
        raise InputError(f"no variant that may be taken: {given}", "one", "name another query variant, or export again")
    return best, [row if row.reason or row is best else replace(row, reason="slower") for row in by_speed]


def influence_of_mates(
    probes: Iterable[Item],
    most: Callable[[Item], int],
    drawn: Callable[[np.random.Generator, int, Item], list[Item]],
    forward: Callable[[Sequence[Item]], Vectors],
    size: Callable[[Floats], float],
    seed: int = 0,
) -> float:
    """The largest difference that the others of a batch make to what is computed of a probe.

    Args:
        probes: each is computed alone and within RANDOM_BATCHES random batches.
        most: how many others a probe's batch may hold.
        drawn: so many random others, of the length of a probe.
        forward: what is computed of a batch, float32, (items, …).
        size: how large a difference is.
        seed: of the batches.
    """
    random, worst = np.random.default_rng(seed), 0.0
    for probe in probes:
        alone = forward([probe])[0]
        for count in np.geomspace(1, most(probe), RANDOM_BATCHES).astype(int):
            mates = drawn(random, count, probe)
            place = int(random.integers(0, count + 1))
            difference = forward([*mates[:place], probe, *mates[place:]])[place] - alone
            worst = float(np.maximum(worst, size(difference)))  # NaN stays
    return worst


def machine() -> str:
    """A digest of what decides which variants run, how fast, and how they round.

    It is of architecture, cores, CPU features, the GPU, and the versions of the libraries that compute variants.
    """
    described = [platform.machine(), os.cpu_count(), sorted(cpu_features()), gpu(), library_versions()]
    return digest(canonical(described))[:12]
