"""Robustness to reformulation: a copy is measured as any query is, a query's copies are one unit, bad input is said."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.errors import InputError
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.perturbations import PERTURBATIONS
from pipelines.evaluation.robustness import (
    Perturbations,
    check_judge,
    differences_in_change,
    drops,
    read_robustness,
)
from pipelines.reports.robustness import robustness_report
from pipelines.retrieval.release import load_release
from pipelines.retrieval.run import break_ties
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder

COLOURS = ["red", "green", "blue", "white", "black", "yellow"]
NOUNS = ["chair", "address", "table", "business", "sofa", "mirror"]
DOCUMENTS = [Document(id=f"{colour}-{noun}", text=f"{colour} {noun}", segment=noun) for colour in COLOURS for noun in NOUNS]
MADE = ["typo", "casing", "word_order", "dropped_word"]


@dataclass(frozen=True)
class Shop:
    """A release whose queries are its documents' texts, so that each finds its document first."""

    release: str
    evaluation: str


def shop(queries: int = len(DOCUMENTS)) -> Shop:
    asked = [Query(id=f"q-{document.id}", text=document.text, split="test") for document in DOCUMENTS[:queries]]
    corpus = write_corpus(DOCUMENTS, asked, [f"q-{document.id} 0 {document.id} 1" for document in DOCUMENTS[:queries]])
    release = embedded_release(None, corpus, static_encoder()).release
    return Shop(release, call("evaluate", release=release).evaluation)


@pytest.fixture(scope="session")
def _shop_once(tmp_path_factory) -> tuple[Path, Shop]:
    folder = tmp_path_factory.mktemp("shop") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_HOME", str(folder))
        made = shop()
        measured(made.evaluation)
    return folder, made


@pytest.fixture
def made(_shop_once, home) -> Shop:
    """The shop with its measured robustness, in a home of the test's own."""
    shutil.copytree(_shop_once[0], home, copy_function=os.link)
    return _shop_once[1]


def measured(evaluation: str, baseline: str = "", **how):
    perturbed = call("perturb", evaluation=evaluation, **{"perturbations": MADE, "copies": 2, **how})
    return call("measure_robustness", evaluation=evaluation, baseline=baseline, perturbations=perturbed.perturbations)


def stored(robustness: str):
    return read_robustness(load(open_store(), "robustness", robustness))


def test_the_copies_measures_are_those_of_any_query(made):
    robustness = stored(measured(made.evaluation).robustness)
    release = load_release(open_store(), made.release)
    assert {row["perturbation"] for row in robustness.rows} == set(MADE)
    for row in robustness.rows[::7]:
        ranking = break_ties(release.search([row["text"]], 100)[0])
        assert row["after"] == per_query({"q": {row["query"].removeprefix("q-"): 1}}, {"q": ranking})["q"]
        assert row["before"]["nDCG@10"] == 1


def test_what_an_encoder_cannot_see_costs_nothing_and_a_typo_costs(made):
    found = {
        drop.perturbation: drop.change for drop in drops(stored(measured(made.evaluation).robustness), None, "nDCG@10", 0.95)
    }
    assert found["casing"].mean == found["word_order"].mean == 0, "small letters, a mean of words"
    assert found["typo"].high < 0
    assert found["dropped_word"].high < 0


def test_the_copies_of_a_query_are_one_unit(made):
    robustness = stored(measured(made.evaluation).robustness)
    doubled = replace(robustness, rows=[row for row in robustness.rows for _ in range(10)])
    once, again = ([drop.change for drop in drops(one, None, "nDCG@10", 0.95)] for one in (robustness, doubled))
    assert once == again
    assert all(change.n == len(DOCUMENTS) for change in once)


def test_difference_in_differences_by_hand(made):
    robustness = stored(measured(made.evaluation).robustness)
    harder = replace(
        robustness,
        rows=[
            {**row, "after": {**row["after"], "nDCG@10": row["after"]["nDCG@10"] / 2}}
            if row["perturbation"] == "casing"
            else row
            for row in robustness.rows
        ],
    )
    assert set(differences_in_change(harder, robustness, "casing", "nDCG@10")) == {-0.5}
    assert set(differences_in_change(harder, robustness, "typo", "nDCG@10")) == {0.0}
    with pytest.raises(InputError, match="different copies"):
        differences_in_change(replace(harder, perturbations="other"), robustness, "casing", "nDCG@10")


def test_the_champion_is_measured_once(made):
    first = measured(made.evaluation, copies=3)
    again = measured(made.evaluation, made.evaluation, copies=3)
    assert (first.found, again.found) == (False, True)
    assert again.robustness == again.other_robustness == first.robustness
    assert (again.worst, again.release) == (first.worst, made.release)


def test_no_queries_is_not_run_and_never_a_change(home):
    made = shop(0)
    perturbed = call("perturb", evaluation=made.evaluation, perturbations=MADE)
    assert perturbed.not_run == MADE
    found = call("measure_robustness", evaluation=made.evaluation, perturbations=perturbed.perturbations)
    assert (found.worst, found.change) == ("", None)
    report = robustness_report(stored(found.robustness))
    assert report.verdict == "not run"
    assert report.warnings[0] == "typo was not run: no judged queries."


def test_one_query_has_a_change_without_an_interval(home):
    found = measured(shop(1).evaluation, perturbations=["typo"])
    assert found.change is not None
    assert (found.low, found.high) == (None, None)


def test_copies_of_other_queries_are_refused(made):
    few, all_ = shop(4), made
    perturbed = call("perturb", evaluation=few.evaluation, perturbations=["casing"]).perturbations
    with pytest.raises(InputError, match=f"perturb --evaluation {all_.evaluation}"):
        call("measure_robustness", evaluation=all_.evaluation, perturbations=perturbed)


def test_an_encoder_that_chose_the_paraphrases_is_refused(made):
    artifact = load(open_store(), "perturbations", call("perturb", evaluation=made.evaluation, copies=1).perturbations)
    assert artifact.facts["judge"]
    with pytest.raises(InputError, match="whose encoder chose the paraphrases"):
        check_judge(Perturbations(artifact), made.release, artifact.facts["judge"] + "0" * 52)
    check_judge(Perturbations(artifact), made.release, "f" * 64)


def test_an_unknown_perturbation_is_refused_before_any_work(made):
    with pytest.raises(InputError, match="given perturbation 'typos'; expected some of typo, casing"):
        call("perturb", evaluation=made.evaluation, perturbations=["typos"])


def test_the_report_shows_examples_and_what_was_not_run(made, monkeypatch, tmp_path):
    monkeypatch.setenv("RATCHET_WORDNET", str(tmp_path))
    robustness = stored(measured(made.evaluation, perturbations=[*MADE, "synonym"]).robustness)
    assert list(robustness.status) == [name for name in PERTURBATIONS if name in (*MADE, "synonym")]
    report = robustness_report(robustness)
    table, examples = report.tables
    assert [row[0] for row in table.rows] == ["typo", "casing", "word order", "dropped word"]
    assert len(examples.rows) == 12
    assert all(change == pytest.approx(after - before) for _, _, _, before, after, change in examples.rows)
    assert report.warnings[0].startswith("synonym was not run: no index.noun of WordNet in")
    assert "costs most" in report.sentence
