"""A shop's search log as people judge it: grades 0 to 3, and queries for which nothing relevant is sold."""

import pytest

from pipelines.corpus.documents import Document, Qrel, Query
from pipelines.reports.frame import LIMIT
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.pipelines.evaluation.test_evaluate import corpus_of, serve

KINDS = ["phone", "laptop", "camera", "headphones", "television", "keyboard", "printer", "router", "speaker", "charger"]
WORDS = ["small", "large", "cheap", "fast", "wireless"]
QUERIES, WITHOUT = 135, 19
LONG = "picture \u2028 " * 2_000


@pytest.fixture(scope="module")
def shop() -> tuple[list[Query], list[Qrel]]:
    """Each query asks for a kind with a word; the last 19 are judged 0 throughout."""
    queries, judged = [], []
    for number in range(QUERIES):
        kind, word = KINDS[number % 10], WORDS[number // 10 % 5]
        queries.append(
            Query(id=f"q{number:03}", text=f"{word} {kind} {number}{LONG if number % 45 == 0 else ''}", split="test")
        )
        for other in range(10):
            grade = 0 if number >= QUERIES - WITHOUT or other != number % 10 else 3 - number % 3
            judged.append(Qrel(query=f"q{number:03}", document=f"p{other}-{word}", grade=grade))
    return queries, judged


def products(text: str) -> list[Document]:
    return [
        Document(
            id=f"p{number}-{word}", text=text.format(word=word, kind=kind), segment=kind, title=LONG, picture="<svg>" * 40_000
        )
        for number, kind in enumerate(KINDS)
        for word in WORDS
    ]


@pytest.mark.parametrize(("rule", "asked"), [("exclude", QUERIES - WITHOUT), ("zero", QUERIES)])
def test_graded_judgments_with_empty_queries_go_through_evaluate_and_gate(trained, shop, rule, asked):
    champion = embedded_release(trained.home, corpus_of(products("{word} {kind}"), *shop), trained.encoder)
    worse = embedded_release(trained.home, corpus_of(products("{word} thing"), *shop), trained.encoder)
    serve(champion.release)
    found = call("evaluate", release=worse.release, no_relevant=rule)
    verdict = call("gate", evaluation=found.evaluation, baseline=found.baseline)
    assert verdict.outcome == "rejected"
    assert f"over {asked} queries" in verdict.sentence

    artifacts = [load(open_store(), "evaluation", found.evaluation), load(open_store(), "verdict", verdict.verdict)]
    summary, page = artifacts[0].json("measures.json"), artifacts[0].text("report.html")
    assert (summary["queries"], summary["no_relevant"]) == (asked, {"queries": WITHOUT, "rule": rule})
    treated = "left out" if rule == "exclude" else "counted with 0"
    assert f"Without a relevant document: {WITHOUT} queries, {treated}" in page
    assert "grade 3" in page
    assert f"<dt>no_relevant</dt><dd>{rule}</dd>" in page
    for artifact in artifacts:
        for name in ("report.html", "report.json"):
            assert artifact.manifest.files[name].bytes <= LIMIT
        assert "pictures" in artifact.text("report.html").rpartition("Left out so that")[2]
    assert artifacts[1].manifest.files["verdict.md"].bytes < 65_536
    assert len(call("why", release=worse.release).model_dump_json()) < 10_000
