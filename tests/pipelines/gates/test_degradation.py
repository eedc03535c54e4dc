"""Degradation: the test for samples that share a part, the rules of a policy, and policies that can't be."""

import numpy as np
import pytest
from scipy import stats

from pipelines.contract import load_step
from pipelines.errors import InputError, NothingToDo
from pipelines.gates.degradation import judge_degradation
from pipelines.gates.policy import REPAIRS, Policy, read_policy
from pipelines.statistics.overlap import change_of_means
from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call

RULE = {"name": "same", "measure": "nDCG@10", "queries": "common", "margin": 0.02, "repairs": ["page"]}


class Stored:
    """An evaluation as far as degradation reads it."""

    def __init__(self, values, first=0, release="r", **summary):
        self.id, self.release, self.split = "e", release, "test"
        self.summary = {"no_relevant": {"rule": "exclude"}, "depth": 100, "corpus": "c", "synthetic": 0} | summary
        self.rows = [
            {"query": f"q{first + place}", "text": "t", "release": {"nDCG@10": value}} for place, value in enumerate(values)
        ]


def policy(*rules, **fields):
    return Policy.model_validate({"name": "p", "description": "d", "rules": rules or [RULE], **fields})


@pytest.fixture
def values():
    return list(np.random.default_rng(0).beta(0.6, 0.9, 400))


def test_paired_throughout_it_is_the_paired_test_and_with_none_welchs(values):
    before, now = np.array(values[:200]), np.array(values[200:]) * 0.9
    paired = stats.ttest_rel(now, before, alternative="less")
    change = change_of_means(before, now, 200, 0.0)
    assert change.pvalue == pytest.approx(paired.pvalue)
    assert (change.low, change.high) == pytest.approx(tuple(stats.ttest_rel(now, before).confidence_interval(0.95)))
    welch = stats.ttest_ind(now[:90], before, equal_var=False, alternative="less")
    assert change_of_means(before, now[:90], 0, 0.0).pvalue == pytest.approx(welch.pvalue)


@pytest.mark.parametrize(("common", "gone", "added"), [(200, 100, 50), (20, 200, 50), (0, 60, 60), (150, 0, 0)])
def test_a_loss_of_the_margin_is_called_degraded_as_seldom_as_stated(common, gone, added):
    random, runs, level = np.random.default_rng(1), 2000, 0.025
    called = 0
    for _ in range(runs):
        before, now = random.beta(0.6, 0.9, common + gone), random.beta(0.6, 0.9, common + added)
        same = random.random(common) < 0.7
        now[:common][same] = before[:common][same]
        called += change_of_means(before, now - 0.02, common, 0.02).pvalue <= level
    assert abs(called / runs - level) <= 3 * np.sqrt(level * (1 - level) / runs)


def test_equal_values_are_no_loss_and_a_constant_loss_is_one():
    assert change_of_means([0.5, 0.5], [0.5, 0.5], 2, 0.02)[:4] == (0.0, 0.0, 0.0, 1.0)
    assert change_of_means([0.5, 0.5], [0.4, 0.4], 2, 0.02).pvalue == 0.0
    with pytest.raises(ValueError, match="two values"):
        change_of_means([0.5], [0.4], 1, 0.0)


def test_a_fall_is_degraded_a_shift_within_the_margin_held_and_noise_undecided(values):
    noise = np.random.default_rng(2).normal(0, 0.5, 40)
    fallen = judge_degradation(Stored(values), Stored([value - 0.1 for value in values]), policy())
    assert (fallen.outcome, fallen.repairs) == ("degraded", ("page",))
    held = judge_degradation(Stored(values), Stored([value - 0.01 for value in values]), policy())
    assert (held.outcome, held.repairs) == ("held", ())
    unclear = judge_degradation(Stored(values[:40]), Stored(list(np.array(values[:40]) + noise)), policy())
    assert unclear.outcome == "undecided"


def test_queries_that_only_one_day_has_count_for_all_and_not_for_common(values):
    both = policy(RULE, {**RULE, "name": "everything", "queries": "all", "repairs": ["rebuild", "page"]})
    today = Stored([*values[200:], *[0.0] * 300], first=200)  # 200 queries are gone, 300 that nothing answers are new
    judged = judge_degradation(Stored(values), today, both)
    assert [(rule.outcome, rule.n) for rule in judged.rules] == [("held", 200), ("degraded", 500)]
    assert judged.repairs == ("rebuild", "page")
    assert judged.sentence.endswith("200 queries in common, 200 gone, 300 new")


def test_the_level_is_shared_by_the_rules(values):
    """A p-value just below the level counts for one rule alone, not for one of twenty."""
    random = np.random.default_rng(4)
    now = [value - 0.02 - 0.0001 * step for value, step in zip(values, random.normal(1, 10, 400), strict=True)]
    pvalue = change_of_means(values, now, 400, 0.02).pvalue
    level = pvalue * 1.5
    assert judge_degradation(Stored(values), Stored(now), policy(level=level)).outcome == "degraded"
    many = [{**RULE, "name": f"r{number}", "margin": 0.9} for number in range(19)]
    assert judge_degradation(Stored(values), Stored(now), policy(RULE, *many, level=level)).outcome != "degraded"


def test_what_can_not_be_compared(values):
    one = judge_degradation(Stored(values), Stored(values, first=1000), policy())
    assert (one.outcome, one.repairs) == ("not run", ())
    assert "0 queries to compare" in one.sentence
    for other in (Stored(values, release="s"), Stored(values, depth=200), Stored(values, no_relevant={"rule": "zero"})):
        with pytest.raises(InputError, match="two evaluations of one release by one rule"):
            judge_degradation(Stored(values), other, policy())
    with pytest.raises(InputError, match=r"rule same on ERR@7, .*one of nDCG@10"):
        judge_degradation(Stored(values), Stored(values), policy({**RULE, "measure": "ERR@7"}))


@pytest.mark.parametrize("queries", ["common", "all"])
def test_queries_that_a_rule_made_are_no_judgments(values, queries):
    """`ingest` makes them where a later corpus comes without judgments; they are easier or harder than people's."""
    today = Stored([0.0] * 400, synthetic=400)
    judged = judge_degradation(Stored(values), today, policy({**RULE, "queries": queries}))
    assert (judged.outcome, judged.repairs, judged.common) == ("not run", (), 0)


def left(kind, inputs, **facts):
    """An artifact of which only the manifest is read."""
    return produce(open_store(), Recipe(kind=kind, step=kind, version=1, inputs=inputs, params=facts), lambda folder: facts).id


def test_an_index_is_trained_anew_on_the_champions_own_corpus_where_it_was_only_updated(home):
    def drifted(made):
        index = left("index", {"embeddings": "e"}, **made)
        release = left("release", {"corpus": "c", "index": index})
        Journal(open_store()).append("deploy", release, "for a test", Routing(champion=release))
        facts = {"release": release, "corpus": "c", "repairs": ["re-index", "re-embed"], "sentence": "", "cool_down_hours": 0}
        return left("drift", {}, **facts)

    assert call("start_repair", degradation=drifted({"made": "in place of b"}), repair="re-index").corpus == "c"
    for made in ({"made": "anew"}, {}):
        with pytest.raises(NothingToDo, match="the champion's index was trained on the corpus of today"):
            call("start_repair", degradation=drifted(made), repair="re-index")


def judged(kind, *repairs, corpus="today", hours=24):
    """A judgment of the champion that calls for repairs."""
    release = left("release", {"corpus": "c", "index": "i"})
    Journal(open_store()).append("deploy", release, "why", Routing(champion=release))
    facts = {"release": release, "corpus": corpus, "repairs": list(repairs), "sentence": f"of {repairs}"}
    return left(kind, {}, **facts, cool_down_hours=hours)


def test_embedding_is_left_to_the_training_only_where_this_judgment_started_one(home):
    """The index was trained for the corpus of yesterday, and cools down: what came since then is to be embedded."""
    call("start_repair", degradation=judged("drift", "re-index", corpus="yesterday"), repair="re-index")
    both = judged("drift", "re-index", "re-embed")
    with pytest.raises(NothingToDo, match="re-index was started by entry"):
        call("start_repair", degradation=both, repair="re-index")
    assert call("start_repair", degradation=both, repair="re-embed").corpus == "today"
    without = judged("drift", "re-index", "re-embed", hours=0)
    assert call("start_repair", degradation=without, repair="re-index").corpus == "today"
    with pytest.raises(NothingToDo, match="re-index embeds the corpus of today, too"):
        call("start_repair", degradation=without, repair="re-embed")


def test_a_page_about_drift_does_not_silence_one_about_degradation(home):
    for kind in ("drift", "degradation"):
        call("start_repair", degradation=judged(kind, "page"), repair="page")
    for kind in ("drift", "degradation"):
        with pytest.raises(NothingToDo, match="page was started by entry"):
            call("start_repair", degradation=judged(kind, "page", corpus="later"), repair="page")
    call("start_repair", degradation=judged("drift", "rebuild"), repair="rebuild")
    with pytest.raises(NothingToDo, match="rebuild was started by entry"):
        call("start_repair", degradation=judged("degradation", "rebuild"), repair="rebuild")


def test_the_steps_repairs_are_those_of_a_policy():
    assert load_step("start_repair").params.model_fields["repair"].annotation.__args__ == REPAIRS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "with NoneType"),
        ("- a", "with list"),
        ("a: [", "expected a YAML file that can be read"),
        ("name: p\ndescription: d", "rules; expected a value"),
        ("name: p\ndescription: d\nrules: []", "at least 1 item"),
        ("name: p\ndescription: d\nrules: [3]", "rule 1: 3"),
        ("name: p\ndescription: d\ncolour: red\nrules: [{name: a, repairs: [page]}]", "colour: red; expected no such key"),
        ("name: p\ndescription: d\nrules: [{name: a, repairs: [pray]}]", r"rule 1 \(a\) repairs 0: pray; expected 're-embed'"),
        ("name: p\ndescription: d\nrules: [{name: a, repairs: []}]", r"rule 1 \(a\) repairs"),
        ("name: p\ndescription: d\nrules: [{name: a, repairs: [page, page]}]", "each repair once"),
        ("name: p\ndescription: d\nrules: [{name: a, repairs: [re-judge]}]", "expected no re-judge: it is this judgment"),
        ("name: p\ndescription: d\nrules: [{name: a, margin: .nan, repairs: [page]}]", "margin: nan"),
        ("name: p\ndescription: d\nrules: [{name: a, margin: 2, repairs: [page]}]", "margin: 2; expected less than 1"),
        (
            "name: p\ndescription: d\nrules: [{name: a, repairs: [page]}, {name: a, repairs: [page]}]",
            "rules of different names",
        ),
    ],
)
def test_a_policy_that_can_not_be(tmp_path, text, message):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_policy(str(path))


def test_policies_that_can_not_be_read(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for file in ("nowhere.yaml", str(tmp_path), str(tmp_path / "bytes.yaml")):
        with pytest.raises(InputError, match="expected a YAML file that can be read"):
            read_policy(file)
    assert read_policy("").name == "default"
