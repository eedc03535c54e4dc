"""Encoders: what batches come out, what each variant may do, and what is refused."""

import threading

import numpy as np
import pytest

from pipelines.artifacts import load_exactly
from pipelines.ranking import encoder as encoders
from pipelines.ranking.encoder import ahead, load_encoder

TEXTS = [f"word {number} " * (number % 40 + 1) for number in range(60)]


def loaded(trained, variant="onnx-fp32"):
    return load_encoder(load_exactly(trained.store, "encoder", trained.encoder), variant, 2)


@pytest.mark.parametrize("window", [7, 60, 2048])
def test_batches_give_each_row_once_whatever_is_tokenized_together(trained, monkeypatch, window):
    expected = loaded(trained).encode(TEXTS, "document")
    monkeypatch.setattr(encoders, "WINDOW", window)
    one = loaded(trained)
    batches = list(one.batches(TEXTS, "document", batch_tokens=300))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(TEXTS)))
    assert one.forward_passes == len(batches) > 5
    for rows, vectors in batches:
        np.testing.assert_allclose(vectors, expected[rows], atol=1e-5)


def test_batches_are_computed_as_they_are_asked_for(trained):
    one = loaded(trained)
    batches = one.batches(TEXTS, "document", batch_tokens=300)
    next(batches)
    assert one.forward_passes == 1
    batches.close()
    assert one.forward_passes == 1
    assert list(one.batches([], "document")) == []


def test_work_ahead_is_bounded_and_in_order():
    started, done = [], threading.Event()

    def work(number):
        started.append(number)
        if number == 2:
            done.set()
        return number * 2

    results = ahead(work, range(100), depth=2)
    assert next(results) == 0
    assert done.wait(10), "the next but one is worked on while the first is used"
    assert started == [0, 1, 2]
    assert list(results) == [number * 2 for number in range(1, 100)]


def test_what_fails_ahead_is_told_where_it_is_asked_for():
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda number: 1 // number, [1, 0, 1]))
