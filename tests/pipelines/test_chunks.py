"""Chunks of long texts: nothing is lost, none is too long, and documents rank as their best chunk."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ranking.chunks import chunks, parent, pooled
from pipelines.ranking.encoder import load_tokenizer
from pipelines.steps.export_encoder import MINILM, _folder


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(_folder(MINILM) / "tokenizer.json", 16)


@settings(deadline=None)
@given(words=st.lists(st.text("abcü東 .😀", min_size=1, max_size=9), max_size=60), overlap=st.integers(0, 9))
def test_every_word_is_in_a_chunk_and_no_chunk_is_cut_by_the_model(tokenizer, words, overlap):
    text = " ".join(words)
    found = chunks(tokenizer, "d", text, 16, overlap)
    assert [one for one, _ in found] == [f"d#{number}" for number in range(len(found))]
    position = 0
    for _, piece in found:
        start = text.find(piece, max(0, position - len(piece)))
        assert start >= 0
        assert not re.sub(r"\s", "", text[position:start]), "between two chunks there is white space alone"
        position = max(position, start + len(piece))
    assert not re.sub(r"\s", "", text[position:])


def test_windows_overlap_and_fit_the_model(tokenizer):
    text = " ".join(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"] * 5)
    found = chunks(tokenizer, "a#b", text, 16, 4)
    assert len(found) == 5  # 50 tokens; the first window takes 14, each other adds 10
    words = [piece.split() for _, piece in found]
    assert all(before[-4:] == after[:4] for before, after in pairwise(words))
    tokenizer.no_truncation()
    assert max(len(tokenizer.encode(piece).ids) for _, piece in found) == 16
    assert {parent(one) for one, _ in found} == {"a#b"}


def test_the_tokenizer_is_left_as_it_was(tokenizer):
    tokenizer.enable_truncation(16)
    assert chunks(tokenizer, "d", "short", 16, 4) == [("d#0", "short")]
    assert chunks(tokenizer, "d", "", 16, 4) == [("d#0", "")]
    assert tokenizer.truncation["max_length"] == 16


@pytest.mark.parametrize("overlap", [14, 20, -1])
def test_an_overlap_that_leaves_no_step(tokenizer, overlap):
    with pytest.raises(ValueError, match=f"overlap {overlap} in windows of 14 tokens"):
        chunks(tokenizer, "d", "text", 16, overlap)


def test_documents_rank_as_their_best_chunk():
    ranking = [("long#3", 0.9), ("long#0", 0.8), ("short#0", 0.7), ("other#1", 0.6)]
    assert pooled([ranking, []], 3) == [[("long", 0.9), ("short", 0.7), ("other", 0.6)], []]
    assert pooled([ranking], 1) == [[("long", 0.9)]]
