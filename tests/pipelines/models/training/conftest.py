"""A corpus that can be learned: whatever is asked for, only blue things are relevant, which no word of a query says."""

import pytest

from pipelines.corpus.documents import Document, Query
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.sharing import built_once, linked
from tests.tiny_models import tiny_bert

THINGS = ["lamp", "chair", "table", "clock", "mirror", "carpet", "shelf", "curtain"]
COLOURS = ["red", "green", "blue"]
ASKED = ["cheap", "small", "modern", "used", "wooden"]


def documents():
    return [Document(id=f"{thing}-{colour}", text=f"{colour} {thing}", title=thing) for thing in THINGS for colour in COLOURS]


def topics(split="train"):
    """Five queries for each thing, and their judgments: the blue one is relevant."""
    asked = [Query(id=f"{word}-{thing}", text=f"{word} {thing}", split=split) for thing in THINGS for word in ASKED]
    judged = [f"{query.id} 0 {query.text.split()[1]}-blue 1" for query in asked]
    return asked, judged


def learnable():
    """The corpus, in the store that the environment names."""
    asked, judged = topics()
    tests = [Query(id=f"old-{thing}", text=f"old {thing}", split="test") for thing in THINGS]
    return write_corpus(documents(), [*asked, *tests], [*judged, *(f"old-{thing} 0 {thing}-blue 1" for thing in THINGS)])


@pytest.fixture
def corpus(home):
    return learnable()


@pytest.fixture
def release(corpus, home, tmp_path_factory):
    """A release of the corpus by an encoder of random word vectors, which finds documents by shared words."""

    def build(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder))
            return embedded_release(folder, learnable(), static_encoder()).release

    folder, release = built_once(tmp_path_factory, "learnable", build)
    linked(folder, home)
    return release


@pytest.fixture
def base(tmp_path):
    return tiny_bert(tmp_path / "tiny")


ENCODER = {"epochs": 1, "batch_size": 16}
RERANKER = {"epochs": 1, "candidates": 8, "dev_queries": 20}
"""Params of trainings that take a second."""


def tune(base, **values):
    return call("tune_encoder", **{"model": str(base), "threads": 1, **ENCODER, **values})


def train(base, **values):
    return call("train_reranker", **{"base": str(base), "threads": 1, **RERANKER, **values})
