"""The rules perturbed, segments and exposure: what each refuses, what it lets pass, and that nothing missing ever passes."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.errors import InputError
from pipelines.evaluation.exposure import compare_exposure
from pipelines.evaluation.record import Evaluation
from pipelines.evaluation.robustness import Robustness
from pipelines.evaluation.segments import compare_segments, document_values, segments_of
from pipelines.gates import perturbed
from pipelines.gates.evidence import Evidence
from pipelines.gates.gate_file import Rule, parse_gate_file
from pipelines.gates.perturbed import named_worse
from pipelines.retrieval.run import read_run
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder

COLOURS = ["red", "green", "blue", "white", "black", "yellow", "grey", "pink", "brown", "purple"]
NOUNS = ["chair", "lamp", "table", "clock", "sofa", "shelf", "mirror", "carpet"]
RULES = """
name: test
description: rules of a test
rules:
  - {name: quality, comparison: champion, margin: 0.5}
  - {name: tested, severity: blocks, %s}
"""


@dataclass(frozen=True)
class Pair:
    """Evaluations of a release and of one whose documents of sofas say nothing of what they are."""

    good: str
    broken: str


def documents(broken: str = "") -> list[Document]:
    return [
        Document(
            id=f"{colour}-{noun}",
            text="something" if noun == broken else f"{colour} {noun}",
            segment=noun,
            facets={"supplier": colour, "price": str(10 * number + place)},
        )
        for number, colour in enumerate(COLOURS)
        for place, noun in enumerate(NOUNS)
    ]


def release(broken: str, queries: int) -> str:
    asked = documents()[:queries]
    corpus = write_corpus(
        documents(broken),
        [Query(id=f"q-{one.id}", text=one.text, split="test") for one in asked],
        [f"q-{one.id} 0 {one.id} 1" for one in asked],
    )
    return embedded_release(None, corpus, static_encoder()).release


@pytest.fixture(scope="session")
def _pair_once(tmp_path_factory) -> tuple[Path, Pair]:
    folder = tmp_path_factory.mktemp("pair") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_HOME", str(folder))
        good, broken = release("", 80), release("sofa", 80)
        Journal(open_store()).append("deploy", good, "test", Routing(champion=good))
        both = call("evaluate", release=broken, baseline=good)
    return folder, Pair(both.baseline, both.evaluation)


@pytest.fixture
def pair(_pair_once, home) -> Pair:
    shutil.copytree(_pair_once[0], home, copy_function=os.link)
    return _pair_once[1]


def judged(tmp_path, rule: str, evaluation: str, baseline: str, **ids):
    """The verdict of the rule beside the quality rule, and the overall outcome."""
    (tmp_path / "rules.yaml").write_text(RULES % rule)
    verdict = call("gate", evaluation=evaluation, baseline=baseline, gate_file=str(tmp_path / "rules.yaml"), **ids).verdict
    artifact = load(open_store(), "verdict", verdict)
    body = artifact.json("verdict.json")
    (tested,) = [row for row in body["rules"] if row["name"] == "tested"]
    return tested, body["outcome"], artifact.json("report.json")


def evaluation(name: str) -> Evaluation:
    return Evaluation(load(open_store(), "evaluation", name))


SEGMENTS = "comparison: segments, by: segment, margin: 0.5, least_queries: 10"


def test_a_broken_segment_is_refused_and_named(pair, tmp_path):
    tested, outcome, report = judged(tmp_path, SEGMENTS, pair.broken, pair.good)
    assert (tested["outcome"], outcome) == ("rejected", "rejected")
    assert tested["sentence"].startswith("rejected: worst segment sofa, nDCG@10 −")
    assert "1 of 8 worse" in tested["sentence"]
    (table,) = [table for table in report["tables"] if table["title"] == "Segments by segment"]
    assert [row[0] for row in table["rows"] if row[-2] == "yes"] == ["sofa"]


def test_the_segments_figures_are_those_of_the_queries(pair):
    ours, theirs = evaluation(pair.broken), evaluation(pair.good)
    compared = compare_segments(ours, theirs.values("nDCG@10"), "supplier", "nDCG@10", least_queries=8)
    assert {row.segment for row in compared.judged} == set(COLOURS)
    for row in compared.judged:
        inside = [number for number, one in enumerate(ours.rows) if one["query"].startswith(f"q-{row.segment}-")]
        assert row.queries == len(inside) == 8
        assert row.release == pytest.approx(sum(ours.values("nDCG@10")[number] for number in inside) / 8)
        assert row.difference.mean == pytest.approx(row.release - row.reference)
        assert row.difference.low <= row.difference.mean <= row.difference.high


def test_small_segments_are_listed_and_never_pass(pair, tmp_path):
    tested, outcome, _ = judged(tmp_path, SEGMENTS.replace("10", "11"), pair.good, pair.good)
    assert (tested["outcome"], outcome) == ("not run", "not run")
    assert tested["sentence"] == "not run: no segment by segment has 11 queries, the largest 10"
    compared = compare_segments(evaluation(pair.good), [0.0] * 80, "query_length", "nDCG@10", least_queries=100)
    assert compared.too_small == {"2 words": 80}


def test_without_a_champion_the_first_baseline_is_the_reference(pair, tmp_path):
    tested, _, _ = judged(tmp_path, SEGMENTS.replace("0.5", "0.001"), pair.good, "")
    assert tested["outcome"] == "passed", "no margin is needed where there is nothing to be worse than"
    assert "no champion yet; worst segment" in tested["sentence"]
    assert "against BM25" in tested["sentence"]


def test_an_unknown_field_is_not_run_and_lists_the_known(pair, tmp_path):
    tested, outcome, _ = judged(tmp_path, SEGMENTS.replace("by: segment", "by: colour"), pair.good, pair.good)
    assert (tested["outcome"], outcome) == ("not run", "not run")
    assert "segments by 'colour'; expected one of head_tail, price, query_length, segment, supplier" in tested["sentence"]


def test_a_margin_that_the_segments_cannot_detect_is_not_run(pair, tmp_path):
    rule = SEGMENTS.replace("0.5", "0.001").replace("by: segment", "by: supplier").replace("10", "8")
    tested, _, _ = judged(tmp_path, rule, pair.broken, pair.good)
    assert tested["outcome"] == "not run"
    assert "margin 0.001 on nDCG@10, which none of 10 segments by supplier can detect" in tested["sentence"]
    assert tested["next"] == "judge more queries", "8 queries of which one is lost can detect no margin below 1"


def test_numbers_become_bands_of_equally_many_documents(pair):
    values = document_values(evaluation(pair.good).documents(), "price")
    sizes = {value: list(values.values()).count(value) for value in values.values()}
    assert sizes == {"0 to 23.75": 20, "23.75 to 48.5": 20, "48.5 to 73.25": 20, "73.25 to 97": 20}


def test_head_and_tail_by_how_often_a_document_is_relevant(home):
    texts = ["one", "two", "three", "four"]
    judged_documents = {"one": ["a"], "two": ["a", "b"], "three": ["a"], "four": ["c"]}
    corpus = write_corpus(
        [Document(id=name, text=f"text {name}") for name in "abc"],
        [Query(id=text, text=text, split="test") for text in texts],
        [f"{text} 0 {document} 1" for text, ids in judged_documents.items() for document in ids],
    )
    made = embedded_release(None, corpus, static_encoder()).release
    found = segments_of(evaluation(call("evaluate", release=made).evaluation), "head_tail", {})
    assert found == {"one": {"head"}, "two": {"head", "tail"}, "three": {"head"}, "four": {"tail"}}


def test_exposure_by_hand(pair):
    ours = evaluation(pair.good)
    reference = {row["query"]: [("red-chair", 3.0), ("red-lamp", 2.0), ("blue-sofa", 1.0)] for row in ours.rows}
    compared = compare_exposure(ours, reference, ours.documents(), "supplier")
    shares = {row.provider: row.reference for row in compared.shares}
    total = 1 + 1 / 1.584962500721156 + 0.5
    assert shares["red"] == pytest.approx((1 + 1 / 1.584962500721156) / total)
    assert shares["blue"] == pytest.approx(0.5 / total)
    assert sum(row.release for row in compared.shares) == pytest.approx(1)
    assert compared.low <= compared.rise <= compared.high < 0
    same = compare_exposure(ours, read_run(ours.artifact.path("run.trec")), ours.documents(), "supplier")
    assert (same.rise, same.low, same.high) == (0, 0, 0)


def test_a_release_that_no_longer_shows_a_provider_is_refused(pair, tmp_path):
    rule = "comparison: exposure, by: segment, margin: 0.001"
    refused, outcome, report = judged(tmp_path, rule, pair.broken, pair.good)
    assert (refused["outcome"], refused["measure"], outcome) == ("rejected", "Gini by segment", "rejected")
    assert "; sofa " in refused["sentence"]
    assert any(table["title"] == "Exposure by segment" for table in report["tables"])
    assert judged(tmp_path, rule, pair.broken, pair.broken)[0]["outcome"] == "passed", "the same ranking"
    assert judged(tmp_path, rule.replace("segment", "colour"), pair.broken, pair.good)[0]["outcome"] == "not run"


PERTURBED = "comparison: perturbed, perturbations: [typo, casing], margin: 0.4"


def robustness(pair, tmp_path, rule=PERTURBED):
    (tmp_path / "rules.yaml").write_text(RULES % rule)
    made = call("perturb", evaluation=pair.broken, gate_file=str(tmp_path / "rules.yaml")).perturbations
    found = call("measure_robustness", evaluation=pair.broken, baseline=pair.good, perturbations=made)
    return {"robustness": found.robustness, "other_robustness": found.other_robustness}


def test_perturbations_without_evidence_are_not_run_and_say_how(pair, tmp_path):
    tested, outcome, _ = judged(tmp_path, PERTURBED, pair.good, pair.broken)
    assert (tested["outcome"], outcome) == ("not run", "not run")
    assert f"perturb --evaluation {pair.good}" in tested["next"]


def test_perturbations_are_judged_beside_the_champion(pair, tmp_path):
    ids = robustness(pair, tmp_path)
    tested, _, report = judged(tmp_path, PERTURBED, pair.broken, pair.good, **ids)
    assert tested["outcome"] == "passed"
    assert tested["sentence"].startswith("passed: casing costs nDCG@10 0.000 where it costs 0.000 in champion ")
    by_first_digits = {name: robustness[:12] for name, robustness in ids.items()}
    assert judged(tmp_path, PERTURBED, pair.broken, pair.good, **by_first_digits)[0] == tested
    assert len(open_store().names("verdict/")) == 1, "one verdict, whichever way its evidence is named"
    assert {"Robustness to reformulation", "Examples of reformulations"} <= {table["title"] for table in report["tables"]}


def made_up(after: float, before: float) -> Robustness:
    """Forty queries whose copies have a measure around `after`."""
    rows = [
        {
            "perturbation": "typo", "query": f"q{number:02}", "original": "a", "text": "b",
            "before": {"nDCG@10": before}, "after": {"nDCG@10": after + 0.01 * (-1) ** number},
        }
        for number in range(40)
    ]  # fmt: skip
    return Robustness("release", "copies", {"typo": {"status": "made", "queries": 40, "copies": 40}}, rows)


@pytest.mark.parametrize(("after", "outcome"), [(0.45, "passed"), (0.30, "rejected")])
def test_a_release_that_ranks_the_copies_better_had_more_to_lose(pair, after, outcome):
    """Both lose 0.2 and more beside a champion that loses 0.1; one of them still ranks the copies better than the champion."""
    rule = Rule(name="typed", comparison="perturbed", perturbations=["typo"], margin=0.05)
    evidence = Evidence(
        evaluation(pair.broken), "", evaluation(pair.good),
        robustness=made_up(after, 0.7), champion_robustness=made_up(0.35, 0.45),
    )  # fmt: skip
    found = perturbed.judge(rule, evidence)
    assert found.outcome == outcome, found.sentence
    assert ("the copies themselves rank better by +0.100" in found.sentence) == (outcome == "passed")


def test_a_drop_beyond_the_stated_is_refused_whatever_the_champion_loses(pair, tmp_path):
    ids = robustness(pair, tmp_path)
    strict = judged(tmp_path, f"{PERTURBED}, most_drop: 0.01", pair.broken, pair.good, **ids)[0]
    assert strict["outcome"] == "rejected"
    assert "−0.01 is the most" in strict["sentence"]
    assert judged(tmp_path, f"{PERTURBED}, most_drop: 0.99", pair.broken, pair.good, **ids)[0]["outcome"] == "passed"


def test_robustness_of_another_evaluation_is_refused(pair, tmp_path):
    ids = robustness(pair, tmp_path)
    turned = {"robustness": ids["other_robustness"], "other_robustness": ids["robustness"]}
    with pytest.raises(InputError, match="of evaluation"):
        judged(tmp_path, PERTURBED, pair.broken, pair.good, **turned)


def test_a_perturbation_that_could_not_be_made_never_passes(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("RATCHET_WORDNET", str(tmp_path))
    rule = PERTURBED.replace("casing", "synonym")
    tested, outcome, _ = judged(tmp_path, rule, pair.broken, pair.good, **robustness(pair, tmp_path, rule))
    assert tested["outcome"] == "not run"
    assert outcome != "passed"
    assert "synonym: no index.noun of WordNet" in tested["sentence"]


def test_only_what_the_gate_file_names_is_perturbed(pair, tmp_path):
    assert call("perturb", evaluation=pair.good, gate_file="default").perturbations == ""
    nothing = call("measure_robustness", evaluation=pair.good, perturbations="")
    assert (nothing.robustness, nothing.other_robustness, nothing.worst) == ("", "", "")


def test_worse_perturbations_are_named_by_holms_steps():
    weak = [-0.1] * 12 + [0.09] * 8
    strong = [-0.5, -0.45] * 10
    assert named_worse({"a": strong, "b": [0.0, 0.1] * 10, "c": [0.0, -0.1] * 10}, 0.95) == {"a", "c"}
    assert named_worse({"a": weak}, 0.95) == set()
    borderline = [-0.1 + 0.68 * (-1) ** number for number in range(200)]  # p = 0.04: enough for one test, not for two
    assert named_worse({"a": borderline}, 0.95) == {"a"}
    assert named_worse({"a": borderline, "b": [0.0, 0.1, -0.1] * 9}, 0.95) == set()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("comparison: perturbed", "`perturbations`"),
        ("comparison: perturbed, perturbations: [typos]", "perturbations of typo, casing"),
        ("comparison: perturbed, perturbations: [typo], measure: nDCG@20", "a measure of `comparison: perturbed`: nDCG@10"),
        ("comparison: segments", "`by` for a rule"),
        ("comparison: absolute, least: 0.1, by: segment", "`by` for a rule"),
        ("comparison: champion, perturbations: [typo]", "`perturbations`"),
        ("comparison: champion, most_drop: 0.1", "`perturbations`"),
        ("comparison: segments, by: segment, least_queries: 1", "greater than or equal to 2"),
    ],
)
def test_rules_that_do_not_fit_are_refused(rule, expected):
    with pytest.raises(InputError, match=r"gate file x\.yaml, rule 2 \(tested\)") as error:
        parse_gate_file((RULES % rule).encode(), "x.yaml")
    assert expected in str(error.value)


def test_the_bias_check_for_ci_passes_what_is_alike_and_fails_what_is_not(pair):
    alike = {"by": "segment", "margin": 0.5, "least_queries": 10}
    passed = call("check_bias", evaluation=pair.broken, baseline=pair.broken, **alike)
    assert (passed.passed, len(passed.sentences)) == (True, 2)
    Journal(open_store()).append("deploy", passed.release, "test", Routing(champion=passed.release))
    named = call("check_bias", evaluation=pair.broken, baseline=pair.broken, **alike)
    assert f"against champion {passed.release[:8]}" in named.sentences[0]
    assert f"against release {passed.release[:8]}" in passed.sentences[0], "it did not serve then"
    with pytest.raises(InputError, match=r"worst segment sofa.*expected no segment.*; next: read report") as failed:
        call("check_bias", evaluation=pair.broken, baseline=pair.good, **alike)
    assert failed.value.exit_code == 2
    report = load(open_store(), "report", str(failed.value).rpartition("read report ")[2].split()[0])
    assert report.json("report.json")["verdict"] == "rejected"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by": "colour"}, "not run: segments by 'colour'; expected one of head_tail, price"),
        ({"least_queries": 100}, "not run: no segment by segment has 100 queries"),
        ({"measure": "nDGC@10"}, "nDGC@10"),
        ({"by": ""}, "at least 1 character"),
    ],
)
def test_a_bias_check_that_cannot_be_made_fails(pair, options, says):
    with pytest.raises(InputError) as failed:
        call("check_bias", evaluation=pair.broken, baseline=pair.good, **options)
    assert says in str(failed.value)


def test_queries_are_divided_by_their_length_without_providers(pair):
    found = call("check_bias", evaluation=pair.broken, baseline=pair.broken, by="query_length")
    assert found.sentences == [
        "passed: worst segment 2 words, nDCG@10 0.000 [0.000, 0.000] over 80 queries against release "
        f"{evaluation(pair.broken).release[:8]}; by query_length 1 judged, gap 0.000 to 0.000"
    ]
