"""compare: two releases side by side."""

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from tests.conftest import call
from tests.evaluations import stored_evaluation
from tests.releases import _releases_once, releases  # noqa: F401


def test_parts_measures_and_queries_that_differ(releases):  # noqa: F811
    stored_evaluation(releases.a, [0.5] * 30 + [0.9])
    stored_evaluation(releases.b, [0.6] * 30 + [0.2])
    result = call("compare", a=releases.a[:8], b=releases.b)
    a, b = (load_exactly(releases.journal.store, "release", name) for name in (releases.a, releases.b))
    assert f"corpus: {a.inputs['corpus']} and {b.inputs['corpus']}" in result.parts
    assert not any(part.startswith("encoder") for part in result.parts), "both have one encoder"
    assert any(measure.startswith("nDCG@10: 0.513 and 0.587, +0.074") for measure in result.measures)
    assert result.sentence.startswith(f"{releases.a[:8]} and {releases.b[:8]} differ in corpus, embeddings, index; ")
    page = load_exactly(releases.journal.store, "report", result.report).text("report.html")
    assert "Measures on the same queries" in page


def test_real_evaluations_show_the_first_queries_that_differ(releases):  # noqa: F811
    """Both answer the queries of one corpus, each from its own documents."""
    corpus = load_exactly(releases.journal.store, "release", releases.a).inputs["corpus"]
    for one in (releases.a, releases.b):
        call("evaluate", release=one, corpus=corpus, split="all", baseline="none")
    result = call("compare", a=releases.a, b=releases.b, shown=3)
    assert len(result.queries) == 3
    assert "queries have other first results" in result.sentence
    page = load_exactly(releases.journal.store, "report", result.report).text("report.html")
    assert "First queries that differ" in page


def test_without_common_queries_the_parts_are_compared(releases):  # noqa: F811
    stored_evaluation(releases.a, [0.5], digest="1" * 12)
    stored_evaluation(releases.b, [0.5], digest="2" * 12)
    result = call("compare", a=releases.a, b=releases.b)
    assert (result.measures, result.queries) == ([], [])
    assert result.sentence.endswith("no evaluation asked both alike")


def test_releases_that_are_none_are_told(releases, capsys):  # noqa: F811
    with pytest.raises(InputError, match="a champion, and there is none yet"):
        call("compare", a="champion", b=releases.a)
    assert main(["compare", "nope", releases.a]) == 2
    assert "Traceback" not in capsys.readouterr().err
