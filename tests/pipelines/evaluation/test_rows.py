"""What is written a row a line is read again as it was, whatever line or word separators stand in its text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.corpus.documents import Document, Qrel, Query, qrels, read_rows, write_rows
from pipelines.evaluation.qrels import judged_topics, trec_qrels
from pipelines.evaluation.record import Evaluation, rows_of, write_evaluation
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call, embedded_release
from tests.pipelines.evaluation.test_evaluate import corpus_of

SEPARATORS = "\u2028\u2029\x85\x1c\x1d\x1e\x1f\x0b\x0c\r\n\t\xa0"
TEXTS = st.text(st.sampled_from(SEPARATORS) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
REFUSED = [*SEPARATORS, " ", "\x00", "\x7f", "\x9f", "\u2003", "\u3000"]
ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@ONE_FOLDER
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_documents_are_read_as_they_were_written(tmp_path, texts):
    rows = [Document(id=f"d{number}", text=text, title=title) for number, (text, title) in enumerate(texts)]
    write_rows(tmp_path / "documents.jsonl", rows)
    assert list(read_rows(tmp_path / "documents.jsonl", Document, "documents")) == rows


@ONE_FOLDER
@given(TEXTS, TEXTS)
def test_the_rows_of_an_evaluation_are_read_as_they_were_written(home, text, title):
    corpus = load(open_store(), "corpus", corpus_of([Document(id="d1", text=text, title=title)], [
        Query(id="q1", text=text, split="test")], [Qrel(query="q1", document="d1", grade=2)]))  # fmt: skip
    topics, shown = judged_topics(corpus, "test", "exclude"), {"d1": Document(id="d1", text=text, title=title)}
    run = {"q1": [("d1", 1.0)]}
    rows = rows_of(topics, run, {"release": {"q1": {"AP": 1.0}}, "BM25": {"q1": {"AP": 0.0}}}, shown)

    def build(folder: Path) -> dict[str, Any]:
        write_evaluation(folder, topics, {"release": run, "BM25": run}, {}, rows)
        return {}

    recipe = Recipe(kind="evaluation", step="evaluate", version=1, inputs={"corpus": corpus.id}, params={})
    assert Evaluation(produce(open_store(), recipe, build)).rows == rows
    assert rows[0]["text"] == text


@ONE_FOLDER
@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 3)), max_size=6))
def test_whatever_ids_are_accepted_qrels_are_read_as_they_were_written(home, judged):
    kept = []
    for query, document, grade in judged:
        try:
            Document(id=document, text="t")
            kept.append(Qrel(query=query, document=document, grade=grade))
        except ValidationError:
            continue
    expected: dict[str, dict[str, int]] = {}
    for one in kept:
        expected.setdefault(one.query, {})[one.document] = one.grade
    assert qrels(load(open_store(), "corpus", corpus_of([], [], kept))) == expected
    assert [line.split() for line in trec_qrels(expected).splitlines()] == [
        [query, "0", document, str(grade)] for query, grades in expected.items() for document, grade in sorted(grades.items())
    ]


@pytest.mark.parametrize("sign", REFUSED, ids=lambda sign: f"U+{ord(sign):04X}")
def test_an_id_with_a_separator_or_control_character_is_refused(sign):
    for make in (
        lambda name: Document(id=name, text="t"),
        lambda name: Query(id=name, text="t", split="test"),
        lambda name: Qrel(query=name, document="d", grade=1),
        lambda name: Qrel(query="q", document=name, grade=1),
    ):
        for name in (f"a{sign}b", f"a{sign}", sign):
            with pytest.raises(ValidationError):
                make(name)
        assert make("ä-1_é/日本")


def test_separators_in_texts_go_through_evaluate_and_gate(trained):
    corpus = corpus_of(
        [Document(id="d1", text="small\u2028dog\x85", title="\u2029dog"), Document(id="d2", text="cat\x1cblack")],
        [Query(id=f"q{number}", text=f"pup\u2028py{sign}", split="test") for number, sign in enumerate("\x1e\x85")],
        [Qrel(query=f"q{number}", document="d1", grade=1) for number in range(2)],
    )
    release = embedded_release(trained.home, corpus, trained.encoder).release
    found = call("evaluate", release=release).evaluation
    verdict = call("gate", evaluation=found, baseline=found)
    assert verdict.outcome == "passed"
    said = json.loads(load(open_store(), "verdict", verdict.verdict).text("verdict.json"))
    assert said["queries"] == 2
