"""Features out of the online store: what is missing, too old, late, or not to be read at all."""

import os
import sqlite3
import struct
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from images.serve.cache import RankingCache
from images.serve.features import OnlineFeatures
from pipelines.errors import InputError
from pipelines.features.online import entity_key
from pipelines.retrieval.low_priority import at_low_priority
from pipelines.retrieval.stages.blend import Blended, BlendFeature, Candidates, Terms
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.settings import settings

NOW = datetime.now(UTC)


def feature(name, ttl_s=86_400):
    said = {"view": "v", "key": "document_id", "definition": "d", "unit": "number", "default": 0, "mean": 0, "deviation": 1}
    return BlendFeature(feature=name, ttl_s=ttl_s, **said)


@pytest.fixture
def database(home):
    """An online store as Feast lays it out: `a` has both features, `b` one, `c` has them since long ago, `d` has none."""
    path = home / "feast" / "online.db"
    path.parent.mkdir(parents=True)
    rows = [("a", "ctr", 0.5, 0), ("a", "other", 2.0, 0), ("b", "ctr", 0.25, 1), ("c", "ctr", 0.9, 40), ("c", "other", 1.0, 40)]
    with closing(sqlite3.connect(path)) as db:
        db.execute('CREATE TABLE "ratchet_v" (entity_key BLOB, feature_name TEXT, value BLOB, event_ts REAL)')
        for name, told, value, hours in rows:
            at = (NOW - timedelta(hours=hours)).replace(tzinfo=None).timestamp()
            db.execute(
                'INSERT INTO "ratchet_v" VALUES (?, ?, ?, ?)',
                (entity_key("document_id", name), told, b"\x29" + struct.pack("<d", value), at),
            )
        db.commit()
    return path


SEARCHES = [Candidates(["a", "b"]), Candidates(["d", "b", "c"])]


def test_each_search_gets_the_values_of_its_documents(database):
    first, second = OnlineFeatures(0, 1).read([feature("ctr"), feature("other")], SEARCHES)
    assert np.array_equal(first.values, [[0.5, 2.0], [0.25, np.nan]], equal_nan=True)
    assert np.array_equal(second.values, [[np.nan, np.nan], [0.25, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert not first.late
    assert OnlineFeatures(0, 1).read([feature("ctr", ttl_s=2 * 86_400)], SEARCHES)[1].values[2, 0] == 0.9


def test_reads_keep_their_priority_whoever_asks_first(database):
    """A release that is warmed beside searches may ask first, and threads have the priority of the thread that starts them."""
    source, seen = OnlineFeatures(0, 2), []
    values = source._values

    def seen_values(*asked):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return values(*asked)

    source._values = seen_values
    at_low_priority(lambda _: source.read([feature("ctr")], SEARCHES), [1, 2], rests=0.0)
    assert seen == [os.getpriority(os.PRIO_PROCESS, threading.get_native_id())] * 2


def test_a_locked_store_costs_a_search_no_more_than_its_time(database):
    source = OnlineFeatures(0.05, 1)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(3):  # the second waits for the thread that the first keeps
            began = time.monotonic()
            late = source.read([feature("ctr")], SEARCHES)
            assert time.monotonic() - began < 1
            assert [one.late for one in late] == [True, True]
            assert [one.values.shape for one in late] == [(2, 1), (3, 1)]
            assert all(np.isnan(one.values).all() for one in late)
        other.rollback()
    until = time.monotonic() + 10
    while source.read([feature("ctr")], SEARCHES)[0].late:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"not a database" * 99)])
def test_a_store_that_is_gone_or_broken_fails_no_search(database, spoil):
    spoil(database)
    assert OnlineFeatures(0, 1).read([feature("ctr")], SEARCHES)[0].late


def test_settings_that_cannot_work_fail_no_search(home, monkeypatch):
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    assert OnlineFeatures(0, 1).read([feature("ctr")], SEARCHES)[0].late


@pytest.mark.parametrize("late", [True, False])
def test_a_ranking_without_features_is_not_kept(late):
    cache, terms = RankingCache(9), Terms(["a"], ["v.ctr"], np.zeros((1, 1)), np.full((1, 1), np.nan), late)
    cache.keep("key", StageRankings({}, [("a", 1.0)], None, Blended(terms, {"v.ctr": 1.0})))
    assert (cache.get("key") is None) == late


@pytest.mark.parametrize("value", ["-1", "60001", "inf", "nan", "soon"])
def test_a_time_that_no_search_can_wait_is_refused(monkeypatch, value):
    monkeypatch.setenv("RATCHET_FEATURES_MS", value)
    with pytest.raises(InputError, match="RATCHET_FEATURES_MS"):
        settings()
