"""What each rule of a gate file says of a release, and what all of them say together."""

from datetime import date
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.gates.changes import changed_parts
from pipelines.gates.evidence import Evidence, judged_before
from pipelines.gates.gate_file import GateFile, Part, Rule, read_gate_file
from pipelines.gates.judging import deciding_rule, judge
from pipelines.gates.verdict import RuleVerdict
from pipelines.gates.waivers import ActiveWaiver
from pipelines.reports.verdict import markdown
from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.evaluations import stored_evaluation

MARGIN = 0.02
QUALITY = Rule(name="quality", comparison="champion", margin=MARGIN)
ANCHOR = Rule(name="anchor", comparison="anchor", margin=MARGIN, level=0.99)
BASELINE = Rule(name="baseline", comparison="baseline")
BASE = np.tile([0.2, 0.4, 0.6, 0.8], 200)
NOISE = np.tile([0.05, -0.05], 400)
"""With a mean of 0: 800 queries can detect a margin of 0.006 by it."""


@pytest.fixture(autouse=True)
def _home(home):
    """A store of each test's own."""


def file_of(*rules: Rule, **fields) -> GateFile:
    return GateFile(name="tested", description="Rules of a test.", rules=list(rules), **fields)


def judged(evaluation, *rules: Rule, champion=None, fields=None, **evidence):
    given = Evidence(evaluation, champion.release if champion else "", champion, **evidence)
    return judge(file_of(*rules, **(fields or {})), given, {"index"}).verdict


def outcomes(verdict):
    return {rule.name: rule.outcome for rule in verdict.rules}


def test_each_a_little_worse_passes_the_champion_but_not_the_anchor():
    anchor, champion = stored_evaluation("a" * 20, BASE), stored_evaluation("b" * 20, BASE - 0.017 + NOISE)
    challenger = stored_evaluation("c" * 20, BASE - 0.021 + NOISE[::-1])
    seen = {"champion": champion, "anchor_release": anchor.release}
    verdict = judged(challenger, QUALITY, ANCHOR, anchor=anchor, **seen)
    assert outcomes(verdict) == {"quality": "passed", "anchor": "rejected", "fresh queries": "passed"}
    assert verdict.outcome == "rejected"
    assert "against anchor aaaaaaaa" in verdict.sentence
    alone = judged(challenger, QUALITY, **seen)
    assert alone.outcome == "passed", "without the anchor it goes unseen"
    unmeasured = judged(challenger, QUALITY, ANCHOR, **seen)
    assert (unmeasured.outcome, unmeasured.asks) == ("not run", True), "what was not measured never passes"
    assert "evaluate --release" in next(rule.next for rule in unmeasured.rules if rule.name == "anchor")


def test_worse_than_the_anchor_within_the_margin_passes_it():
    anchor, champion = stored_evaluation("a" * 20, BASE), stored_evaluation("b" * 20, BASE - 0.01)
    verdict = judged(
        stored_evaluation("c" * 20, BASE - 0.01 + NOISE / 10),
        QUALITY, ANCHOR, champion=champion, anchor=anchor, anchor_release=anchor.release,
    )  # fmt: skip
    assert outcomes(verdict)["anchor"] == "passed"
    assert verdict.outcome == "passed"


def test_the_power_of_each_rule_lets_an_equal_release_pass_all():
    anchor, champion = stored_evaluation("a" * 20, BASE), stored_evaluation("b" * 20, BASE)
    challenger = stored_evaluation("c" * 20, BASE + NOISE)
    alone = judged(challenger, QUALITY, ANCHOR, BASELINE, champion=champion, anchor_release=champion.release)
    assert alone.power == 0.8, "the champion is the anchor: one test"
    both = judged(challenger, QUALITY, ANCHOR, BASELINE, champion=champion, anchor=anchor, anchor_release=anchor.release)
    assert both.power == 0.9
    assert both.margin_that_holds > alone.margin_that_holds


def test_a_first_release_that_bm25_beats_asks_a_person():
    verdict = judged(stored_evaluation("a" * 20, BASE, BASE + 0.05 + NOISE), QUALITY, ANCHOR, BASELINE)
    assert outcomes(verdict) == {"quality": "passed", "anchor": "passed", "baseline": "undecided"}
    assert (verdict.outcome, verdict.asks) == ("undecided", True)
    assert verdict.sentence.startswith("undecided: nDCG@10 −0.050 [")
    assert "against BM25" in verdict.sentence
    assert judged(stored_evaluation("a" * 20, BASE, BASE - 0.05 + NOISE), QUALITY, BASELINE).outcome == "passed"


def test_one_that_bm25_beats_is_rejected_where_a_better_one_was_at_hand():
    champion = stored_evaluation("b" * 20, BASE, BASE)
    challenger = stored_evaluation("a" * 20, BASE, BASE + 0.05 + NOISE)
    verdict = judged(challenger, QUALITY, BASELINE, champion=champion)
    assert outcomes(verdict)["baseline"] == "rejected"
    assert "champion bbbbbbbb is not beaten by it" in verdict.sentence
    stage = {"stage": "lexical", "weight": 0.2, "measures": {"nDCG@10": {"mean": 0.9}}}
    verdict = judged(stored_evaluation("a" * 20, BASE, BASE + 0.05 + NOISE, stages=[stage]), QUALITY, BASELINE)
    assert (verdict.outcome, verdict.asks) == ("rejected", False)
    assert "stage lexical alone (nDCG@10 0.900)" in verdict.sentence


def test_the_baseline_that_beats_it_beyond_chance_counts_and_not_the_one_with_the_best_mean():
    """Popularity is better on average, by chance; BM25 is better by less, but on every query."""
    luck = np.tile([0.6, -0.3], 400) - 0.1
    verdict = judged(stored_evaluation("a" * 20, BASE, BASE + 0.01, popularity=np.clip(BASE + luck, 0, 1)), QUALITY, BASELINE)
    assert (verdict.outcome, outcomes(verdict)["baseline"]) == ("undecided", "undecided")
    assert "against BM25" in verdict.sentence


def test_rankings_outside_the_pool_are_not_comparable():
    champion = stored_evaluation("b" * 20, BASE, judged=0.9, grade=0)
    far = stored_evaluation("a" * 20, BASE - 0.05 + NOISE, judged=0.6, grade=0)
    verdict = judged(far, QUALITY, champion=champion)
    assert (verdict.outcome, verdict.asks) == ("not comparable", True)
    assert "nobody judged 40% of the challenger and 10% of champion bbbbbbbb among the first ten" in verdict.sentence
    assert "pool --file FILE --verdict VERDICT" in verdict.rules[0].next
    turned = stored_evaluation("a" * 20, BASE - 0.05 + NOISE, judged=0.9, grade=0, condensed=list(BASE + NOISE))
    verdict = judged(turned, QUALITY, champion=champion)
    assert "over judged documents alone it is not worse, with all others as not relevant worse" in verdict.sentence
    better = stored_evaluation("a" * 20, BASE + 0.05 + NOISE, judged=0.6, grade=0)
    assert judged(better, QUALITY, champion=champion).outcome == "passed", "judging more can only help it"
    beaten = stored_evaluation("a" * 20, BASE, BASE + 0.05 + NOISE, judged=0.6, bm25_judged=0.9, grade=0)
    assert outcomes(judged(beaten, QUALITY, BASELINE))["baseline"] == "not comparable"


def test_where_every_judged_document_is_relevant_nothing_speaks_against_the_judgments():
    champion = stored_evaluation("b" * 20, BASE, judged=0.9)
    verdict = judged(stored_evaluation("a" * 20, BASE - 0.05 + NOISE, judged=0.6), QUALITY, champion=champion)
    assert verdict.outcome == "rejected"


def test_queries_that_have_judged_too_many_ask_a_person():
    champion, equal = stored_evaluation("b" * 20, BASE), stored_evaluation("a" * 20, BASE + NOISE)
    assert judged(equal, QUALITY, champion=champion, judged_before=19).outcome == "passed"
    verdict = judged(equal, QUALITY, champion=champion, judged_before=20)
    assert (verdict.outcome, verdict.asks) == ("undecided", True)
    assert "challenger 21 of at most 20" in verdict.sentence
    assert "0.53 would have passed by chance" in verdict.sentence
    assert judged(equal, QUALITY, champion=champion, judged_before=20, fields={"most_challengers": 21}).outcome == "passed"


@pytest.mark.parametrize("before", [{}, {"outcome": "not run"}, {"champion": ""}, {"queries_digest": "other"}])
def test_challengers_that_were_judged_before_are_counted_once(before):
    journal = Journal(open_store())
    said = {"outcome": "rejected", "champion": "b" * 20, "queries_digest": "same", **before}
    for release in ("a", "a", "c", "d"):
        inputs, params = {"release": release * 20}, {"number": len(open_store().names("verdict/"))}
        recipe = Recipe(kind="verdict", step="gate", version=3, inputs=inputs, params=params)
        produce(open_store(), recipe, lambda folder: said)
    assert judged_before(journal.store, "same", "d" * 20) == (0 if before else 2)


def waiver_of(rule):
    return ActiveWaiver(7, f"rule {rule}", "ann", "the shop opens", date(2026, 12, 31))


def test_the_main_rule_can_be_set_aside_too():
    champion, worse = stored_evaluation("b" * 20, BASE), stored_evaluation("a" * 20, BASE - 0.05 + NOISE)
    assert judged(worse, QUALITY, champion=champion).outcome == "rejected"
    verdict = judged(worse, QUALITY, champion=champion, waivers=(waiver_of("quality"),))
    assert (verdict.outcome, outcomes(verdict)["quality"], verdict.asks) == ("passed", "rejected", False)
    assert verdict.sentence.startswith("passed: a waiver sets the rule quality aside (rejected: nDCG@10 −0.050 [")
    serving = Evidence(champion, champion.release, None, waivers=(waiver_of("quality"),))
    assert judge(file_of(QUALITY), serving, set()).verdict.outcome == "not run", "the champion is not judged"


def test_a_waived_rule_blocks_nothing_and_is_shown():
    champion = stored_evaluation("b" * 20, BASE, BASE)
    beaten = stored_evaluation("a" * 20, BASE, BASE + 0.05 + NOISE)
    waiver = waiver_of("baseline")
    verdict = judged(beaten, QUALITY, BASELINE, champion=champion, waivers=(waiver,))
    assert (verdict.outcome, outcomes(verdict)["baseline"]) == ("passed", "rejected")
    assert verdict.waivers == ["waiver until 2026-12-31 by ann (journal entry 7) for rule baseline: the shop opens"]


@pytest.mark.parametrize("severity", ["blocks", "warns"])
def test_an_absolute_rule(severity):
    floor = Rule(name="floor", comparison="absolute", least=0.6, severity=severity)
    low = judged(stored_evaluation("a" * 20, BASE), QUALITY, floor)
    assert outcomes(low)["floor"] == "rejected"
    assert low.outcome == ("rejected" if severity == "blocks" else "passed")
    assert "0.6 is the least" in next(rule.sentence for rule in low.rules if rule.name == "floor")
    assert outcomes(judged(stored_evaluation("b" * 20, BASE + 0.2), QUALITY, floor))["floor"] == "passed"
    undecided = judged(stored_evaluation("c" * 20, BASE + 0.1 + NOISE), QUALITY, floor)
    assert outcomes(undecided)["floor"] == "undecided"


def test_a_rule_whose_scope_did_not_change_is_not_applied():
    reranker = Rule(name="reranking", comparison="absolute", least=0.99, scope=["reranker"])
    assert judged(stored_evaluation("a" * 20, BASE), QUALITY, reranker).outcome == "passed"
    assert (
        judged(stored_evaluation("a" * 20, BASE), QUALITY, reranker.model_copy(update={"scope": ["index"]})).outcome != "passed"
    )


def test_a_part_that_changed_is_named_as_scopes_name_it():
    def release(**changed):
        inputs = {"corpus": "c", "encoder": "e", "rerank": "1", "popularity": "1", **changed}
        params = {"stages": ["dense"], "query_variant": inputs.pop("query_variant", "onnx-fp32")}
        recipe = Recipe(kind="release", step="assemble", version=1, inputs=inputs, params=params)
        made = produce(open_store(), recipe, lambda folder: {})
        return SimpleNamespace(release=made.id, artifact=made)

    champion = release()
    assert changed_parts(release(rerank="2"), champion) == {"reranker"}
    assert changed_parts(release(popularity="2"), champion) == {"recommender"}
    assert changed_parts(release(query_variant="onnx-int8"), champion) == {"encoder"}
    assert changed_parts(champion, champion) == set()
    assert changed_parts(champion, None) == set(get_args(Part))


def test_a_margin_that_is_too_small_is_to_be_raised_where_it_stands():
    tight = Rule(name="tight", comparison="champion", measure="RR@10", margin=0.001)
    champion, equal = stored_evaluation("b" * 20, BASE), stored_evaluation("a" * 20, BASE + NOISE)
    verdict = judged(equal, QUALITY, tight, champion=champion)
    assert (verdict.outcome, outcomes(verdict)) == (
        "not run", {"quality": "passed", "tight": "not run", "fresh queries": "passed"},
    )  # fmt: skip
    said = next(rule.next for rule in verdict.rules if rule.name == "tight")
    assert said.startswith("raise its margin in the gate file to 0.0"), "--margin would change the main rule"


def test_the_name_of_a_segment_is_a_text_in_a_pull_request():
    verdict = judged(stored_evaluation("a" * 20, BASE), QUALITY)
    said = verdict.model_copy(update={"sentence": "rejected: worst segment <b> @all, nDCG@10 −0.100"})
    assert markdown(said, []).startswith("**rejected: worst segment &lt;b&gt; &#64;all, nDCG@10 −0.100**\n")


def test_an_interval_of_a_single_query_is_a_dash_in_a_pull_request():
    verdict = judged(stored_evaluation("a" * 20, BASE), QUALITY)
    row = {"measure": "nDCG@10", "champion": 0.5, "challenger": 0.6, "difference": 0.1, "low": None, "high": None}
    assert "\n| nDCG@10 | 0.500 | 0.600 | +0.100 – |\n" in markdown(verdict, [row])


def test_any_measure_is_computed_from_the_stored_runs():
    rule = QUALITY.model_copy(update={"measure": "P@2"})
    one, two = stored_evaluation("a" * 20, BASE), stored_evaluation("b" * 20, BASE)
    verdict = judged(one, rule, champion=two)
    assert (verdict.outcome, verdict.difference) == ("passed", 0.0)
    assert one.values("P@2") == [1.0] * 800


def test_the_worst_blocking_rule_decides():
    def rule(name, outcome, severity="blocks"):
        return RuleVerdict(
            name=name, measure="m", comparison="c", severity=severity, on_undecided="ask", outcome=outcome, sentence=outcome
        )

    main = rule("main", "passed")
    order = ["passed", "undecided", "not comparable", "not run", "rejected"]
    for count in range(1, len(order) + 1):
        rows = [main, *(rule(f"r{number}", outcome) for number, outcome in enumerate(order[:count]))]
        assert deciding_rule(rows, main).outcome == order[count - 1]
    assert deciding_rule([main, rule("w", "rejected", "warns")], main) is main


@pytest.mark.parametrize(
    ("values", "words"),
    [([], "not run: no judgments"), ([0.5], None), ([float("nan"), 0.2, 0.3], "with nDCG@10 nan"), ([2.0, 0.2], "nDCG@10 2.0")],
)
def test_what_can_not_be_judged_never_passes(values, words):
    champion = stored_evaluation("b" * 20, [0.5] * len(values))
    challenger = stored_evaluation("a" * 20, values)
    default = read_gate_file("default").rules
    if not values:
        verdict = judged(challenger, *default, champion=champion, anchor_release=champion.release)
        assert (verdict.outcome, verdict.sentence, verdict.asks) == ("not run", words, False)
        assert {rule.outcome for rule in verdict.rules} == {"not run"}
        return
    with pytest.raises(InputError, match=words or "two judged queries"):
        judged(challenger, *default, champion=champion, anchor_release=champion.release)


def test_all_ties_pass_and_synthetic_queries_never_do():
    same = stored_evaluation("a" * 20, BASE), stored_evaluation("b" * 20, BASE)
    assert judged(same[0], QUALITY, champion=same[1]).outcome == "passed"
    made = stored_evaluation("a" * 20, BASE, synthetic=True)
    verdict = judged(made, *read_gate_file("default").rules)
    assert verdict.outcome == "not run"
    assert "a smoke test only" in verdict.sentence
