"""Guardrails: harm is seen, a busy hour or a ramp is not harm, and every look counts. Error rates: `make proof-deploy`."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.deployment.guardrails import (
    BUCKETS,
    CHALLENGER,
    CHAMPION,
    REFUSED,
    Counts,
    bucket_of,
    champion_bucket,
    evidence,
    findings,
    limit_findings,
    memory_evidence,
    probed_overlap,
)
from pipelines.deployment.stages import SHADOW, Plan, decide
from pipelines.errors import InputError
from pipelines.statistics.sequential import stratified_log_evidence, stratified_ratio
from proofs import deploy as proof
from proofs import deploy_people as people

MINUTES = 90


def made(searches=(900, 100), errors=(0, 0), clicked=(0, 0), milliseconds=(5.0, 5.0), groups=None, ranked=None):
    """The same counts in each minute; latencies of what is ranked spread evenly over 20 buckets about the given one's."""

    def spread(value):
        return np.broadcast_to(np.array(value, float), (MINUTES, 2)).copy()

    latency = np.zeros((MINUTES, 2, BUCKETS))
    for arm, middle in enumerate(milliseconds):
        first = int(bucket_of(middle))
        latency[:, arm, first - 10 : first + 10] = (ranked or searches)[arm] / 20
    nothing = spread((0, 0))
    return Counts(spread(searches), spread(errors), nothing, spread(clicked), latency, np.ones(MINUTES), groups or {})


def broken(counts):
    return [finding.name for finding in findings(counts) if finding.broken]


def memory_of(memory):
    """What the guardrail of memory says."""
    return findings(replace(made().until(len(memory)), memory=memory))[-1]


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ({}, []),
        ({"errors": (1, 1)}, ["errors"]),
        ({"clicked": (270, 24)}, ["clicks"]),
        ({"clicked": (270, 36)}, []),
        ({"milliseconds": (5.0, 7.0)}, ["p99", "p50"]),
        ({"milliseconds": (5.0, 5.4)}, []),
        ({"milliseconds": (5.0, 3.0)}, []),
    ],
)
def test_what_is_worse_is_named(harm, named):
    assert broken(made(**harm)) == named


def test_the_sentence_has_the_ratio_and_the_counts():
    finding = next(one for one in findings(made(errors=(1, 1))) if one.name == "errors")
    assert finding.sentence.startswith("errors: 9.00 [")
    assert finding.sentence.endswith("with an error of the server, at most 1.10 tolerated (challenger 90, champion 90)")
    assert finding.low > 1.1


def test_harm_that_was_over_before_the_look_is_told_as_it_was():
    """A look may come late. What was refused once stays so, and its sentence must not name an interval that tolerates it."""
    counts = made(searches=(100, 100), errors=(20, 20))
    counts.errors[:5, CHAMPION] = 2
    found = next(one for one in findings(counts) if one.name == "errors")
    assert found.broken
    assert found.low > 1.1
    assert (found.champion, found.challenger) == (10, 100)


def test_a_ramp_on_a_bad_evening_is_no_harm():
    """Both releases err more in the evening, when the challenger has half of the users: pooled, it would look worse."""
    share = np.repeat([0.01, 0.5], 100)
    rate = np.repeat([0.01, 0.02], 100)
    events = np.stack([1000 * (1 - share) * rate, 1000 * share * rate], -1)
    pooled = (events[:, 1].sum() / (1000 * share).sum()) / (events[:, 0].sum() / (1000 * (1 - share)).sum())
    assert pooled > 1.4
    assert stratified_log_evidence(events[:, 1], events[:, 0], share).max() < 0.5
    ratio, low, high = stratified_ratio(events[:, 1], events[:, 0], share)
    assert ratio == pytest.approx(1.0)
    assert low < 1 < high


def test_evidence_is_one_on_average_whatever_the_shares():
    """A supermartingale: over many runs without harm, the likelihood ratio has a mean of 1, and 1 % pass 100 at most."""
    random = np.random.default_rng(1)
    share = np.repeat([0.01, 0.1, 0.5], 40)
    units = np.stack([random.binomial(500, share, (4000, 120)), np.zeros((4000, 120), int)], -1)
    units[..., 1] = 500 - units[..., 0]
    events = random.binomial(units, random.gamma(2, 0.005, (4000, 120, 1)))
    found = stratified_log_evidence(events[..., 0], events[..., 1], units[..., 0] / 500)
    assert np.exp(found[:, -1]).mean() < 1.1
    assert (found.max(-1) > np.log(100)).mean() <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / 4000)


def test_a_champion_that_the_cache_answers_for_is_not_faster():
    """Of 900 searches the cache has 810, of the 100 of the challenger none: of those that are ranked, half are slow in both."""
    assert broken(made(ranked=(90, 100))) == []
    assert broken(made(ranked=(90, 100), milliseconds=(5.0, 7.0))) == ["p99", "p50"]


def test_users_who_go_together_count_less():
    """Thirty clicks that one user did not make are no thirty people who did not click."""
    alone, together, searches = np.full(32, 50.0), np.r_[np.full(31, 1.0), 1569.0], np.full((2, 32), 500.0)
    harm = {"clicked": (270, 24)}
    assert broken(made(**harm, groups={"clicks": (np.stack([alone, alone]), searches)})) == ["clicks"]
    for arms in (
        (together, alone),
        (alone, together),
    ):  # such as a monitor that never clicks, whom the split gave the challenger
        assert broken(made(**harm, groups={"clicks": (np.stack(arms), searches)})) == []


def test_a_quantile_is_of_the_hour_before():
    latency = np.zeros((MINUTES, 2, BUCKETS))
    latency[:10, CHAMPION, 40] = 100
    latency[10:, CHAMPION, 60] = 100
    latency[:, CHALLENGER, 90] = 1e6
    median = champion_bucket(latency, "p50")
    assert median[0] == -1, "no minute is before the first"
    assert [*median[[1, 10, 19, 21, MINUTES - 1]]] == [40, 40, 40, 60, 60]
    assert [*champion_bucket(latency, "p99")[[5, 10]]] == [-1, 40], "99 % are known of 1,000 searches"


def test_memory_may_waver_and_fill_but_not_grow():
    minutes, random = np.arange(300), np.random.default_rng(2)
    wavers = 1 + 0.02 * random.standard_normal(300) + 0.06 * (1 - np.exp(-minutes / 20))
    assert memory_evidence(wavers).max() < REFUSED
    assert memory_evidence(wavers + 0.002 * minutes).max() > REFUSED
    assert memory_evidence(np.ones(1)).tolist() == [0.0]


def test_twice_the_memory_is_found_within_minutes_and_not_by_one_of_them():
    """A leak that is steady is slow to stand out from its own steps: a server would have five times its memory first."""
    leak = np.concatenate([np.ones(5), np.linspace(1, 2.6, 14)])
    assert memory_evidence(leak).max() < REFUSED
    assert memory_of(leak).broken
    assert not memory_of(leak[:-5]).broken, "it grows, and has not had twice as much for five minutes"
    spike = np.concatenate([np.ones(12), [4.0], np.ones(12)])
    assert not memory_of(spike).broken
    assert not memory_of(np.full(4, 3.0)).broken, "fewer than five minutes"


def test_fixed_limits():
    assert [finding.broken for finding in (*limit_findings(2, 5), probed_overlap(0.05))] == [False, False, False]
    assert [finding.broken for finding in (*limit_findings(3, 6), probed_overlap(0.04))] == [True, True, True]
    assert [finding.name for finding in limit_findings(0, 0)] == ["restarts", "readiness"]


def test_nothing_counted_is_no_harm():
    nothing = np.zeros((0, 2))
    counts = Counts(nothing, nothing, nothing, nothing, np.zeros((0, 2, BUCKETS)), np.zeros(0), {})
    assert [finding.broken for finding in findings(counts)] == [False] * 6
    assert {name: found.shape for name, found in evidence(counts).items()} == dict.fromkeys(evidence(counts), (0,))


def test_simulated_deployments_are_judged_by_the_same_code():
    healthy, _, _ = proof.many(10, proof.Harm(), 1)
    harmed, requests, by_guardrail = proof.many(10, proof.HARMS["errors"], 2)
    assert healthy.sum() <= 3, "5 % of 10, with a probability of 0.1 %"
    assert (harmed.all(), by_guardrail["errors"]) == (True, 10)
    assert requests.max() < 5_000


def test_deployments_before_simulated_people_are_judged_at_each_look():
    """A monitor that never clicks, and makes a fifth of all searches, is in one arm alone: that is no harm."""
    plan, random = Plan((0.1, 0.5), (500, 4_000), minutes=10), np.random.default_rng(4)
    for healthy in (people.People(2_000), people.People(2_000, monitor=0.2)):
        seen = [people.rolled_back(random, healthy, plan, 200.0, 120) for _ in range(5)]
        assert sum(any(of_run.values()) for of_run in seen) <= 2, "5 % of 5, with a probability of 0.1 %"
    assert people.rolled_back(random, people.People(2_000), plan, 200.0, 120, clicks=0.4) == {
        "errors": False, "empty": False, "clicks": True,
    }  # fmt: skip


def test_plans_that_can_not_work_are_refused():
    no_plans = [((), ()), ((0.5, 0.1), (1, 1)), ((0.1, 1.0), (1, 1)), ((0.0, 0.5), (1, 1)), ((0.1,), (1, 2)), ((0.1,), (0,))]
    for shares, searches in no_plans:
        with pytest.raises(InputError, match="expected"):
            Plan(shares, searches)
    with pytest.raises(InputError, match="--minutes 30 and --most-minutes 20"):
        Plan(minutes=30, most_minutes=20)


def test_what_comes_next():
    plan = Plan((0.1, 0.5), (10, 20), minutes=5, most_minutes=60)
    assert decide(plan, 0, 5, 10, False) == "next"
    assert decide(plan, 1, 5, 10, False) == "wait"
    assert decide(plan, 1, 60, 19, False) == "ask"
    assert decide(plan, 1, 60, 20, False) == "next"
    assert decide(plan, 0, 0, 0, True) == "roll back", "harm needs no least time"
    assert [decide(plan, 0, minutes, 1e9, False, True) for minutes in (30, 60)] == ["wait", "ask"], "a server is silent"
    unseen = [decide(plan, SHADOW, 60, searches, False, blind) for searches, blind in ((9, False), (0, False), (9, True))]
    assert unseen == ["next", "ask", "ask"]


def test_what_both_ranked_of_one_search_goes_together_and_is_judged_with_more_caution():
    """Both releases fail the same searches more often than by chance: evidence stays a supermartingale."""
    random = np.random.default_rng(3)
    hard = random.random((2000, 60, 40)) < 0.1
    failed = random.random((2000, 60, 40, 2)) < np.where(hard, 0.5, 0.01)[..., None]
    events = failed.sum(2)
    found = stratified_log_evidence(events[..., 1], events[..., 0], np.full((2000, 60), 0.5))
    assert np.exp(found[:, -1]).mean() < 1.1
    assert (found.max(-1) > np.log(20)).mean() <= 0.05


def test_the_hour_before_begins_anew_after_the_shadow():
    latency = np.zeros((MINUTES, 2, BUCKETS))
    latency[:20, CHAMPION, 20] = 100
    latency[20:, CHAMPION, 60] = 100
    assert champion_bucket(latency, "p50")[21] == 20
    told = champion_bucket(latency, "p50", shadow=20)
    assert [*told[[19, 20, 21]]] == [20, -1, 60]
    assert [*told[80:]] == [60] * (MINUTES - 80)
