"""What is called a drift: by past days, by permutation of users, by size; what is not compared, and how it is said."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.drift.alarms import LEAST_DAYS
from pipelines.drift.examples import vector_methods
from pipelines.drift.judging import judge_drift, lacking
from pipelines.drift.permutation import concatenated, dealt
from pipelines.drift.policy import read_drift_policy
from pipelines.drift.rows import Column, Rows
from tests.pipelines.drift.days import TABLE, day, days, rows

POLICY = read_drift_policy("")


def judged(current, past=(), reference=None, samples=lambda table: (None, None), since="", policy=POLICY):
    return judge_drift(current, list(past), reference, samples, policy, since)


def outcomes(drift):
    return {area.area: area.outcome for area in drift.areas}


def test_quiet_days_raise_no_more_alarms_than_the_policy_says():
    """200 days, each beside the 40 before it: one false alarm in 120 days is 1.7; five would be beyond three deviations."""
    random = np.random.default_rng(0)
    made = days(random, 240)
    alarms = sum(judged(made[now], made[now - 40 : now]).outcome != "quiet" for now in range(40, 240))
    assert alarms <= 5


@pytest.mark.parametrize(
    ("planted", "area", "words"),
    [
        ({"new": 0.04}, "segments", "new category of documents, new: "),
        ({"shares": [0.25, 0.15, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]}, "segments", "category of documents"),
        ({"words_of": 16}, "tokens", "length of documents 1"),
        ({"centre": 0.4}, "embeddings", "vectors of documents moved by"),
        ({"rate": 0.6}, "quality", "clicked of documents: "),
    ],
)
def test_a_planted_drift_is_called_the_same_day_by_the_area_it_is_in(planted, area, words):
    random = np.random.default_rng(1)
    past = days(random, 60)
    drift = judged(day(rows(random, **planted), "2026-12-01"), past)
    assert outcomes(drift)[area] in ("watch", "act")
    assert words in next(said.sentence for said in drift.areas if said.area == area)
    assert drift.sentence.startswith(f"{drift.outcome}: ")


def test_rows_resampled_from_one_day_would_show_nothing_of_how_days_differ():
    """Against days that differ, a day like them is quiet; against copies of one day, the same day is an alarm."""
    random = np.random.default_rng(2)
    past, now = days(random, 30), day(rows(random), "2026-12-01")
    assert judged(now, past).outcome == "quiet"
    one = rows(random)
    copies = [day(one.take(random.integers(0, len(one), len(one))), f"2026-01-{number:02d}") for number in range(1, 29)]
    assert judged(now, copies).outcome != "quiet"


def test_a_change_that_is_sure_but_tiny_is_no_alarm():
    random = np.random.default_rng(3)
    past = [day(rows(random), f"2026-01-{number:02d}") for number in range(1, 29)]
    for one in past:  # the same share of clicks on every day, to the row
        one.sketches[TABLE].numbers["clicked"] = (500_000.0, 500_000.0, 1e6)
    now = day(rows(random), "2026-02-01")
    now.sketches[TABLE].numbers["clicked"] = (509_000.0, 509_000.0, 1e6)
    tiny = next(change for change in judged(now, past).signals if change.name == "clicked of documents")
    assert tiny.pvalue < POLICY.level / 100
    assert (tiny.effect < POLICY.areas["quality"].watch, tiny.alarm) == (True, False)


def test_gradual_drift_is_found_by_windows_and_begins_anew_after_an_alarm():
    """Each of the last days is within the range of quiet ones; together they are not."""
    random = np.random.default_rng(4)
    past = days(random, 44, count=2000)
    slow = [day(rows(random, count=2000, rate=0.2 + 0.004 * step), f"2026-03-{step:02d}") for step in range(1, 13)]
    drift = judged(slow[-1], [*past, *slow[:-1]])
    change = next(one for one in drift.signals if one.name == "clicked of documents" and one.kind == "gradual")
    assert (change.alarm, change.days >= 3, drift.gradual) == (True, True, True)
    later = judged(slow[-1], [*past, *slow[:-1]], since=slow[-2].day)
    assert not [one for one in later.signals if one.kind == "gradual"]


def users(random, count, each, rate):
    """Users with many rows each, whose rate of clicks differs from user to user."""
    names = np.repeat(np.arange(count) + int(random.integers(10**6)), each)
    rates = np.repeat(random.beta(1, 1 / rate - 1, count), each)
    clicked = (random.random(count * each) < rates).astype(float)
    return Rows(names, {"device": Column(np.zeros(count * each, np.int64), ["phone"])}, {"clicked": clicked})


def test_with_few_days_users_are_permuted_not_rows():
    """60 users with 200 rows each: as rows, their differences would be called drift in most of ten pairs."""
    by_user = by_row = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        then, now = users(random, 60, 200, 0.2), users(random, 60, 200, 0.2)
        before, after = day(then, "2026-01-01"), day(now, "2026-01-02")
        drift = judged(after, [], before, lambda table, pair=(then, now): pair)
        assert "by permutation: 0 of 14 past days" in drift.areas[-1].null
        by_user += drift.outcome != "quiet"
        alone = tuple(
            Rows(np.arange(len(one)) + 10**7 * side, one.columns, one.numbers) for side, one in enumerate((then, now))
        )
        by_row += judged(after, [], before, lambda table, pair=alone: pair).outcome != "quiet"
    assert by_user <= 1
    assert by_row >= 4


def test_few_users_are_too_few_however_many_rows_they_have():
    random = np.random.default_rng(11)
    then, now = users(random, 30, 100, 0.2), users(random, 30, 100, 0.6)
    drift = judged(day(now, "2026-01-02"), [], day(then, "2026-01-01"), lambda table: (then, now))
    assert drift.sentence == "not compared: documents with 30 users of 50, and 0 of 14 past days"


def test_a_pair_that_differs_is_told_apart_by_permutation():
    random = np.random.default_rng(5)
    then, now = rows(random), rows(random, centre=0.5)
    drift = judged(day(now, "2026-01-02"), [], day(then, "2026-01-01"), lambda table: (then, now))
    assert outcomes(drift)["embeddings"] == "act"


def test_vectors_of_different_encoders_are_never_compared():
    random = np.random.default_rng(6)
    past = days(random, 30)
    drift = judged(day(rows(random), "2026-12-01", encoder="f onnx-fp32"), past)
    assert drift.areas[0].outcome == "act"
    assert drift.areas[0].sentence == "the encoder changed: vectors of different encoders are never compared"
    assert not [change for change in drift.signals if change.area in ("embeddings", "tokens")]
    assert outcomes(drift)["segments"] == "quiet", "segments do not depend on it"


def test_before_there_is_a_reference_nothing_is_compared():
    random = np.random.default_rng(7)
    drift = judged(day(rows(random), "2026-01-05"), days(random, LEAST_DAYS - 1))
    assert (drift.outcome, drift.repairs) == ("not compared", ())
    assert drift.sentence == "not compared: no reference yet, and 13 of 14 past days"


@pytest.mark.parametrize("count", [1, 49])
def test_a_day_of_hardly_any_rows_is_not_compared_and_none_to_compare_with(count):
    random = np.random.default_rng(8)
    past = days(random, 30)
    drift = judged(day(rows(random, count=count), "2026-12-01"), past)
    assert drift.outcome == "not compared"
    assert f"documents with {count} row" in drift.sentence
    thin = [*past[:-1], day(rows(random, count=1), past[-1].day)]
    assert judged(day(rows(random), "2026-12-01"), thin).outcome == "quiet"


def test_an_area_that_only_one_side_has_is_named_and_the_others_are_judged():
    random = np.random.default_rng(9)
    past = days(random, 30)
    made = rows(random)
    bare = Rows(made.units, made.columns, {"length": made.numbers["length"]}, None, None, None)
    drift = judged(day(bare, "2026-12-01"), past)
    assert drift.sentence == "quiet: nothing beyond quiet days; not compared: embeddings, quality"


def test_a_column_that_is_null_today_is_called_by_its_name():
    random = np.random.default_rng(10)
    made = rows(random)
    empty = Rows(made.units, {"category": Column(np.zeros(len(made), np.int64), ["(none)"])}, made.numbers)
    drift = judged(day(empty, "2026-12-01"), days(random, 30))
    assert "new category of documents, (none): 100.0 % of rows" in next(
        area.sentence for area in drift.areas if area.area == "segments"
    )


def without(one, **parts):
    """A day that lacks something."""
    return replace(one, sketches={TABLE: replace(one.sketches[TABLE], **parts)})


@pytest.mark.parametrize(
    ("lacks", "planted", "words"),
    [
        ({"columns": {}}, {"new": 0.1}, "new category of documents, new: "),
        ({"numbers": {}}, {"rate": 0.6}, "clicked of documents: "),
        ({"features": None}, {"centre": 0.4}, "vectors of documents moved by"),
    ],
)
def test_what_one_past_day_lacks_is_compared_with_the_other_days(lacks, planted, words):
    random = np.random.default_rng(12)
    past = days(random, 30)
    past[3] = without(past[3], **lacks)
    drift = judged(day(rows(random, **planted), "2026-12-01"), past)
    assert words in " ".join(area.sentence for area in drift.areas)
    null = next(area.null for area in drift.areas if words in area.sentence)
    assert "of documents between days: today against 16 past days" in null, "the other 13 days are looked at for gradual drift"


def test_a_hundred_past_days_are_days_and_no_permutations():
    random = np.random.default_rng(18)
    drift = judged(day(rows(random), "2026-12-01"), days(random, 100), policy=POLICY.model_copy(update={"window_days": 100}))
    assert {len(change.trend) for change in drift.signals} == {101}


def test_a_signal_is_told_once_with_its_value_and_a_gradual_change_by_the_mean_of_its_days():
    random = np.random.default_rng(19)
    drift = judged(day(rows(random, new=0.2), "2026-12-01"), days(random, 40))
    appeared = {change.kind: change for change in drift.signals if change.name == "new category of documents"}
    assert appeared["sudden"].alarm
    assert appeared["gradual"].alarm
    assert appeared["gradual"].today == pytest.approx(appeared["sudden"].today / appeared["gradual"].days, rel=1e-4)
    sentence = next(area.sentence for area in drift.areas if area.area == "segments")
    assert sentence.count("new category of documents, new: ") == 1
    (shifted,) = (one for one in drift.signals if one.name.startswith("one value of category") and one.kind == "sudden")
    assert len(set(shifted.trend)) > 20, "its share on each day, and not what is usual for it"


def test_what_too_few_past_days_have_is_named_and_not_compared():
    random = np.random.default_rng(13)
    past = [without(one, columns={}, outcomes={}) if number < 20 else one for number, one in enumerate(days(random, 30))]
    drift = judged(day(rows(random, new=0.1), "2026-12-01"), past)
    segments = next(area for area in drift.areas if area.area == "segments")
    assert segments.outcome == "not compared"
    assert segments.sentence.startswith("not compared: column category, ")
    assert segments.sentence.endswith(" of documents on 10 of 14 past days")


def test_a_value_that_one_past_day_lacks_is_still_looked_at_for_its_rate():
    random = np.random.default_rng(14)
    past = days(random, 30, count=1200)
    by_category = past[5].sketches[TABLE].outcomes["category"]["clicked"]
    del by_category["c3"]
    now = day(rows(random, count=1200), "2026-12-01")
    clicks = now.sketches[TABLE].outcomes["category"]["clicked"]
    clicks["c3"] = (0.8 * clicks["c3"][1], clicks["c3"][1])
    change = next(one for one in judged(now, past).signals if one.name == "clicked by category")
    assert (change.alarm, change.detail) == (True, "c3")


def test_what_today_lacks_and_the_day_before_had_is_named():
    random = np.random.default_rng(15)
    before = day(rows(random), "2026-01-01")
    now = without(day(rows(random), "2026-01-02"), columns={}, words=None)
    assert lacking(before, now) == [
        "Today has no words of documents, unlike 2026-01-01: not compared.",
        "Today has no column category of documents, unlike 2026-01-01: not compared.",
    ]
    assert lacking(before, replace(now, sketches={})) == ["Today has no documents, unlike 2026-01-01."]


def test_a_value_of_few_rows_is_no_alarm_by_permutation():
    """Five of 800 rows fall on one side by chance in 1 of 32 draws for each side, which no tail of Student's t knows."""
    letters = np.zeros(800, np.int64)
    letters[-5:] = 1
    then, now = (
        Rows(np.arange(400) + 400 * side, {"letter": Column(letters[400 * side :][:400], ["a", "b"])}) for side in (0, 1)
    )
    drift = judged(day(now, "2026-01-02"), [], day(then, "2026-01-01"), lambda table: (then, now))
    appeared = next(change for change in drift.signals if change.name == "new letter of documents")
    assert appeared.pvalue > POLICY.level
    assert drift.outcome == "quiet", drift.sentence


def test_dealing_users_anew_spreads_a_rate_as_far_as_samples_of_users_are_apart():
    """1,000 users on each side, 500 of them on both: their rates differ by the spread of 1,000 against 1,000 rows."""
    random = np.random.default_rng(16)
    units = np.concatenate([np.arange(1000), np.arange(500, 1500)])
    now = np.arange(2000) >= 1000
    clicked = (random.random(2000) < 0.3).astype(float)
    apart = []
    for _ in range(400):
        first, second = dealt(units, now, random, of_users=True)
        apart.append(clicked[second].mean() - clicked[first].mean())
    assert np.std(apart) >= 0.9 * np.sqrt(2 * 0.3 * 0.7 / 1000)


@pytest.mark.parametrize("removed", [0, 60])
def test_documents_that_were_added_are_compared_with_all_that_were_there(removed):
    """Not with the few that were removed: among those and the added ones, the added ones are nearly all in any order."""
    random = np.random.default_rng(17)
    then = rows(random, count=600)
    added = replace(rows(random, count=400, shares=[0.4, *[0.6 / 7] * 7]), units=np.arange(600, 1000))
    now = concatenated(then.take(np.arange(removed, 600)), added)
    drift = judged(day(now, "2026-01-02"), [], day(then, "2026-01-01"), lambda table: (then, now))
    assert outcomes(drift)["embeddings"] in ("watch", "act")


def probes(random, worse=(), count=600, mean=0.4):
    """Judged queries of four segments, in some of which a release ranks worse."""
    codes = random.integers(0, 4, count)
    values = np.clip(random.normal(mean, 0.3, count), 0, 1)
    values[np.isin(codes, worse)] *= 0.4
    return Rows(np.arange(count), {"segment": Column(codes, ["a", "b", "c", "d"])}, {"ndcg": values})


@pytest.mark.parametrize(
    ("worse", "area", "words"),
    [((0, 1, 2, 3), "quality", "ndcg of documents 0.1"), ((2,), "segments", "ndcg by segment, c 0.1")],
)
def test_a_release_that_ranks_worse_is_told_by_its_probes_and_by_segment(worse, area, words):
    random = np.random.default_rng(20)
    past = [day(probes(random), f"2026-01-{number:02d}") for number in range(1, 29)]
    drift = judged(day(probes(random, worse), "2026-02-01"), past)
    assert outcomes(drift)[area] == "act"
    assert words in next(one.sentence for one in drift.areas if one.area == area)
    assert judged(day(probes(random), "2026-02-01"), past).outcome == "quiet"


def test_probes_that_another_release_ranked_are_no_drift():
    """A better release was promoted: its nDCG beside that of the former one is no alarm, and of the same one it is."""
    random = np.random.default_rng(23)
    past = [day(probes(random), f"2026-01-{number:02d}", table="probes", release="a") for number in range(1, 31)]
    better = probes(random, mean=0.6)
    same, other = (day(better, "2026-02-01", table="probes", release=release) for release in ("a", "b"))
    drift = judged(other, past)
    assert (drift.outcome, drift.signals) == ("not compared", ())
    assert drift.sentence == "not compared: no reference yet, and 0 of 14 past days"
    drift = judged(other, past, past[-1])
    assert drift.sentence == "not compared: probes that different releases ranked are never compared"
    assert "ndcg of probes 0.6" in judged(same, past).sentence
    then = probes(random)
    drift = judged(other, past, day(then, "2026-01-31", table="probes", release="b"), lambda table: (then, better))
    assert "ndcg of probes 0.6" in drift.sentence, "the new release itself is compared with how it ranked its own corpus"


def test_a_quiet_day_by_both_nulls_says_both():
    """After a promotion documents are compared with past days, and the probes with those of the reference."""
    random = np.random.default_rng(24)
    asked = probes(random)

    def two(name, release):
        documents, ranked = day(rows(random), name, release=release), day(asked, name, table="probes")
        return replace(documents, sketches=documents.sketches | ranked.sketches)

    past = [two(f"2026-01-{number:02d}", "a") for number in range(1, 31)]
    drift = judged(two("2026-02-01", "b"), past, two("2026-01-31", "b"), lambda table: (asked, asked))
    assert drift.sentence == "quiet: nothing beyond quiet days and chance"
    said = {area.area: area.sentence.partition(" in ")[0] for area in drift.areas}
    assert said["embeddings"] == "nothing beyond quiet days"
    assert said["quality"] == "nothing beyond quiet days and chance"


def test_scores_that_no_longer_mean_the_same_clicks_are_of_quality():
    """As many clicks as ever, but the lower band has those of the upper."""
    random = np.random.default_rng(21)

    def searches(rates):
        codes = random.integers(0, 2, 2000)
        clicked = (random.random(2000) < np.asarray(rates)[codes]).astype(float)
        return Rows(np.arange(2000), {"score band": Column(codes, ["0.35 to 0.5", "0.5 to 0.71"])}, {"clicked": clicked})

    past = [day(searches((0.1, 0.3)), f"2026-01-{number:02d}") for number in range(1, 29)]
    drift = judged(day(searches((0.3, 0.1)), "2026-02-01"), past)
    assert outcomes(drift) == {
        "embeddings": "not compared",
        "tokens": "not compared",
        "segments": "not compared",
        "quality": "act",
    }
    assert "clicked by score band, 0." in drift.sentence


def test_shares_of_many_values_are_told_apart_though_most_documents_are_on_both_sides():
    """Samples that share most rows are closer than two others: their distances must not all be the same least one."""
    random = np.random.default_rng(22)
    values = [f"c{number:02d}" for number in range(60)]
    codes = np.concatenate([random.integers(0, 60, 1600), np.where(random.random(300) < 0.2, 7, random.integers(0, 60, 300))])
    then, now = (
        Rows(np.arange(start, end), {"category": Column(codes[start:end], values)}) for start, end in ((0, 1600), (30, 1900))
    )
    drift = judged(day(now, "2026-01-02"), [], day(then, "2026-01-01"), lambda table: (then, now))
    change = next(one for one in drift.signals if one.name == "category of documents")
    assert change.alarm, change
    value = next(one for one in drift.signals if one.name == "one value of category of documents")
    own = (codes[:1600] == values.index(value.detail)).mean()
    assert value.usual == pytest.approx(own, abs=1e-5), "the reference's own share, not that of permutations"


def test_evidentlys_methods_stay_below_their_thresholds_until_the_vectors_move():
    random = np.random.default_rng(23)

    def vectors(centre):
        drawn = random.standard_normal((800, 48)) + centre * np.eye(48)[0]
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    alike = vector_methods(vectors(0), vectors(0), 0.5)
    assert [method.name.partition(":")[0] for method in alike] == ["model", "mmd", "ratio", "distance"]
    assert not any(method.score > method.threshold for method in alike), alike
    assert all(method.score > method.threshold for method in vector_methods(vectors(0), vectors(3), 0.9)[:2])
    apart = {method.name.partition(":")[0]: method.score for method in vector_methods(vectors(0), vectors(3), 0.9)}
    assert apart["distance"] == pytest.approx(3 / np.sqrt(48 + 9), abs=0.05), (
        "of unit vectors, of which one direction is longer"
    )
    assert apart["ratio"] >= 1 / 32
