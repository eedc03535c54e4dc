"""Days of made-up rows: categories, words, vectors, users and clicks that vary from day to day, for tests of drift."""

import numpy as np

from pipelines.drift.judging import OUTCOMES
from pipelines.drift.rows import BUCKETS, Column, Rows, random_features, sketch
from pipelines.drift.snapshot import Snapshot

CATEGORIES = [f"c{number}" for number in range(8)]
TABLE = "documents"


def rows(random, count=400, shares=None, words_of=8, centre=0.0, rate=0.2, new=0.0):
    """Rows whose categories have shares near those given, with eight words each, 16 dimensions and a user each."""
    shares = random.dirichlet(300 * (np.ones(8) / 8 if shares is None else np.asarray(shares)))
    codes = random.choice(8, count, p=shares)
    codes[random.random(count) < new] = 8
    words = (random.integers(0, 120, (count, words_of)) + 37 * codes[:, None]) % BUCKETS
    vectors = random.normal(size=(count, 16)) + 2 * np.eye(9, 16)[codes] + centre
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Rows(
        np.arange(count),
        {"category": Column(codes, [*CATEGORIES, "new"])},
        {"clicked": (random.random(count) < rate).astype(float), "length": random.poisson(words_of, count) + 1.0},
        random_features(vectors),
        words.ravel().astype(np.int64),
        np.arange(1, count + 1) * words_of,
    )


def day(made, name, encoder="e onnx-fp32", table=TABLE, release=""):
    return Snapshot(name, name, encoder, {table: sketch(made, OUTCOMES)}, release)


def days(random, number_of_days, **how):
    return [day(rows(random, **how), f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}") for number in range(number_of_days)]
