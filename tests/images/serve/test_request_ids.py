"""Ids of searches: which are recognised where, and what they tell."""

import pytest

from images.serve.arm_counts import ArmCounts
from images.serve.cache import RankingCache
from images.serve.exposure_log import ExposureLog, UnknownExposure
from images.serve.metrics import Metrics
from images.serve.request_ids import Origin, RequestIds, origin_now
from images.serve.watcher import State
from pipelines.corpus.exposure import Click, Conversion
from pipelines.deployment.counts import counts_of, read_counts
from pipelines.store.objects import open_store
from tests.images.serve.test_arm_counts import CHALLENGER
from tests.pipelines.corpus.test_event_log import AT


@pytest.mark.parametrize("policy", ["champion", "challenger", "previous"])
@pytest.mark.parametrize("group", [None, 0, 31])
def test_an_id_tells_its_origin_to_whoever_has_the_key(policy, group):
    ids, origin = RequestIds("key"), Origin(2**32 - 1, policy, 2**48 - 1, group)
    made = ids.make(origin)
    assert (len(made), RequestIds("key").origin(made), RequestIds("other").origin(made)) == (54, origin, None)
    assert ids.make(origin) != made


def test_an_id_that_was_changed_is_none():
    ids = RequestIds("key")
    made = ids.make(origin_now(1, "champion", 3))
    for place in range(len(made)):
        assert ids.origin(made[:place] + format(15 - int(made[place], 16), "x") + made[place + 1 :]) is None
    assert [ids.origin(text) for text in ("", "f" * 32, made[:-2], made + "00", made.upper(), made + "\n")] == [None] * 6


def test_nobody_reads_a_user_s_group_from_ids_of_a_log():
    origin = origin_now(1, "champion", 3)
    middles = {RequestIds("key").make(origin)[20:42] for _ in range(50)}
    assert len(middles) == 50, "what is told looks another each time"


def test_without_a_common_key_only_a_process_s_own_searches_are_known(tmp_path):
    one, other = ExposureLog(tmp_path / "a"), ExposureLog(tmp_path / "b")
    click = Click(request_id=one.request_ids.make(origin_now(1, "champion", None)), document="moon", position=1, at=AT)
    one.log_events([click], [])
    with pytest.raises(UnknownExposure, match="that of a search of these servers"):
        other.log_events([click], [])


def test_events_of_another_replica_s_search_are_written(tmp_path):
    one, other = (ExposureLog(tmp_path / name, key="shared") for name in "ab")
    request = one.request_ids.make(origin_now(1, "champion", None))
    click = Click(request_id=request, document="moon", position=1, at=AT)
    other.log_events([click], [Conversion(request_id=request, document="moon", at=AT)])
    assert (tmp_path / "b/clicks.jsonl").read_text() == click.model_dump_json() + "\n"
    assert (tmp_path / "b/conversions.jsonl").exists()


def test_a_click_counts_at_another_replica_once_and_for_the_minute_of_its_search(home, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("images.serve.arm_counts.time.time", lambda: now[0])
    state = State(7, CHALLENGER, CHALLENGER, ready=True)
    counts = ArmCounts(open_store(), lambda: state, 60, "host:1")
    counts.write()
    now[0] += 120
    for _ in range(2):
        counts.clicked("r1", Origin(7, "challenger", 1_000_000, 5))
    counts.clicked("r2", Origin(7, "challenger", 1_000_000, None))
    counts.clicked("r3", Origin(6, "challenger", 1_000_000, 5))
    counts.clicked("r4")
    counts.write()
    (told,) = read_counts(open_store(), [7])
    assert [(minute.minute, minute.challenger.clicked) for minute in told.minutes] == [(16, 1), (18, 0)]
    assert counts_of([told])[0].groups["clicks"][0].sum() == 1


def test_a_click_is_counted_for_the_release_that_another_replica_asked():
    metrics = Metrics(State, lambda: 0, RankingCache(0))
    for request, release in (("1", "r"), ("1", "r"), ("2", "")):
        metrics.clicked(request, release)
    assert b'ratchet_searches_clicked_total{release="r"} 1.0' in metrics.page()
