"""What is computed beside searches leaves them the machine."""

import os
import sys
import threading

import pytest

from pipelines.models.encoder import Encoder
from pipelines.retrieval import release as releases
from pipelines.retrieval.low_priority import NICE, at_low_priority
from pipelines.store.objects import open_store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_work_has_a_low_priority_and_who_called_keeps_its_own():
    before = niceness()
    assert at_low_priority(lambda _: niceness(), [1, 2], rests=0.0) == [min(19, before + NICE)] * 2
    assert niceness() == before


def test_where_a_sandbox_forbids_it_the_work_is_done_all_the_same(monkeypatch):
    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    assert at_low_priority(lambda _: niceness(), [1], rests=0.0) == [niceness()]


def test_an_error_is_raised_where_the_results_are_awaited():
    with pytest.raises(ZeroDivisionError):
        at_low_priority(lambda number: 1 // number, [1, 0, 2], rests=0.0)


def test_a_release_is_checked_at_low_priority_and_its_sessions_are_not(trained, monkeypatch):
    """The threads that a session keeps have the priority of the thread that made it, for good."""
    made, checked = [], []
    encode, load_encoder = Encoder.encode, releases.load_encoder

    def encode_seen(self, texts, role):
        checked.append(niceness())
        return encode(self, texts, role)

    def load_seen(*values):
        made.append(niceness())
        return load_encoder(*values)

    monkeypatch.setattr(Encoder, "encode", encode_seen)
    monkeypatch.setattr(releases, "load_encoder", load_seen)
    releases.load_release(open_store(), trained.release, rests=0.01)
    assert made == [niceness()]
    assert len(checked) > 1
    assert set(checked) == {min(19, niceness() + NICE)}
