"""Checkpoints: finished batches survive a kill and are used by a retry; torn and unknown objects are skipped."""

import functools
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import onnxruntime
import pytest
from structlog.testing import capture_logs

from pipelines.corpus.documents import Document
from pipelines.embeddings.layout import vectors
from pipelines.sigterm import defer_sigterm
from pipelines.store.artifacts import committed, load_exactly
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import PROJECT, call
from tests.corpora import write_corpus

WORDS = ["red", "green", "blue", "small", "large"]
TEXTS = {f"d{number:02d}": " ".join(WORDS[: number + 1]) for number in range(len(WORDS))}


@pytest.fixture
def parts(trained):
    """A corpus of five texts, each a batch of its own."""
    corpus = write_corpus([Document(id=key, text=text) for key, text in TEXTS.items()])
    return {"corpus": corpus, "encoder": trained.encoder, "batch_tokens": 1, "checkpoint_s": 0}


@pytest.fixture
def plain(trained):
    """The vectors of these texts, without a stop."""
    corpus = write_corpus([Document(id=f"plain-{key}", text=text) for key, text in TEXTS.items()])
    return vectors(load_exactly(open_store(), "shard", call("embed", corpus=corpus, encoder=trained.encoder).shard))


class Killed(BaseException):
    """The process ends here; nothing after it runs but what Python unwinds."""


@contextmanager
def killed_at(monkeypatch, point):
    """Every operation of every store passes here; number `point // 2` ends it before (even) or after (odd)."""
    from pipelines.store.objects import Store

    plain_operation, passed = Store.operation, iter(range(1_000_000))

    @contextmanager
    def operation(self, name, path):
        number = next(passed)
        if point == 2 * number:
            raise Killed
        try:
            with plain_operation(self, name, path):
                yield
        finally:  # also after an operation that found nothing
            if point == 2 * number + 1:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Store, "operation", operation)
        yield


def kept_texts(store):
    """How many texts lie in checkpoints, whatever shard they are of."""
    folders = [store.local / "checkpoints" / shard for shard in store.names("checkpoints/")]
    return sum(len(np.load(file)) for folder in folders for file in folder.iterdir() if "#" not in file.name)


def test_a_kill_at_any_operation_costs_at_most_the_batch_in_hand(parts, plain, monkeypatch):
    """After each operation; before each, and at random moments, in proof-embeddings."""
    session = onnxruntime.InferenceSession
    loaded = functools.cache(lambda path: session(path, providers=["CPUExecutionProvider"]))  # each time takes 0.2 s
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, *_, **__: loaded(path))
    store, point, saved = open_store(), 1, []
    before = set(committed(store, "shard"))
    while True:
        with killed_at(monkeypatch, point):
            try:
                call("embed", **parts)
                break
            except Killed:
                pass
        done = set(committed(store, "shard")) - before
        kept = kept_texts(store)
        answer = call("embed", **parts)
        assert answer.forward_passes == (0 if done else len(TEXTS) - kept)
        saved.append(kept)
        assert np.abs(vectors(load_exactly(store, "shard", answer.shard)) - plain).max() <= 1e-5
        assert store.names("checkpoints/") == [] or kept_texts(store) == 0
        (store.local / "shard" / answer.shard / "manifest.json").unlink()
        point += 2
    assert point > 2 * (len(TEXTS) + 4)
    assert set(saved) >= set(range(len(TEXTS) + 1)), "each number of finished texts was kept by some try"


def started(parts):
    """The real command line at work."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in parts.items()]
    return subprocess.Popen(warm.command("-m", "pipelines", "embed", *options), stderr=subprocess.PIPE, text=True)


def wait_for_checkpoints(store, child, count):
    while child.poll() is None and (not store.names("checkpoints/") or kept_texts(store) < count):
        time.sleep(0.02)


def test_sigterm_keeps_finished_batches_and_exits_75(trained):
    corpus = write_corpus([Document(id=f"d{number:03d}", text=f"thing number {number}") for number in range(300)])
    parts = {"corpus": corpus, "encoder": trained.encoder, "batch_tokens": 1}
    store = open_store()
    child = started({**parts, "checkpoint_s": 0.1})
    wait_for_checkpoints(store, child, 1)
    child.send_signal(signal.SIGTERM)
    log = child.communicate(timeout=60)[1]
    assert child.returncode == 75
    kept = kept_texts(store)
    assert f"error: given a step told to stop when {kept} of " in log
    assert "; expected time for the rest; next: run it again: what is done is kept" in log
    assert "Traceback" not in log
    assert committed(store, "shard") == [trained.shard]
    with capture_logs() as logs:
        answer = call("embed", **parts)
    encoding = next(line for line in logs if line["event"] == "encoding")
    assert encoding["from_checkpoints"] == kept > 0
    assert answer.forward_passes == encoding["texts"]
    assert store.names("checkpoints/") == [] or kept_texts(store) == 0


def test_torn_and_unknown_objects_are_skipped_with_a_warning(parts, plain):
    store = open_store()
    answer = call("embed", **parts)
    (store.local / "shard" / answer.shard / "manifest.json").unlink()
    other = np.zeros((1, 3), np.float32)
    store.write(f"checkpoints/{answer.shard}/{'0' * 64}", b"torn")
    folder = store.local / "checkpoints" / answer.shard
    (folder / "strange").write_bytes(other.tobytes())
    with capture_logs() as logs:
        again = call("embed", **parts)
    assert again.forward_passes == len(TEXTS)
    assert [line["reason"] for line in logs if line["log_level"] == "warning"] == ["its sha256 is not its name"] * 2
    assert np.abs(vectors(load_exactly(store, "shard", again.shard)) - plain).max() <= 1e-5


@pytest.mark.parametrize("damage", ["nan", "dimensions"])
def test_a_checkpoint_of_unusable_vectors_is_skipped(parts, damage):
    import io

    from pipelines.store.recipes import digest

    store = open_store()
    answer = call("embed", **parts)
    (store.local / "shard" / answer.shard / "manifest.json").unlink()
    content = Document(id="x", text=TEXTS["d00"]).content
    file = io.BytesIO()
    np.save(file, np.array([content], "S64"))
    np.save(file, np.full((1, 384), np.nan, np.float32) if damage == "nan" else np.ones((1, 8), np.float32))
    store.create(f"checkpoints/{answer.shard}/{digest(file.getvalue())}", file.getvalue())
    with capture_logs() as logs:
        assert call("embed", **parts).forward_passes == len(TEXTS)
    assert any("not 1 × 384 finite" in line.get("reason", "") for line in logs)


def test_two_processes_at_one_shard_do_not_hurt_each_other(parts):
    children = [started(parts) for _ in range(2)]
    logs = [child.communicate(timeout=120)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], logs
    assert call("embed", **parts).found


SIGNALLED = """
import signal
from pipelines.sigterm import defer_sigterm, end_at_once
end_at_once()
with defer_sigterm() as stop_requested:
    signal.raise_signal(signal.SIGTERM)
    assert stop_requested()
    print("inside", flush=True)
print("never", flush=True)
"""


def test_a_deferred_sigterm_that_was_not_acted_upon_takes_effect_afterwards():
    """In a process of its own: a signal that goes astray would end all tests that share this one."""
    done = subprocess.run([sys.executable, "-c", SIGNALLED], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "inside\n"), done.stderr


def test_in_a_thread_no_stop_is_requested():
    answers = []

    def ask():
        with defer_sigterm() as stop_requested:
            answers.append(stop_requested())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]


def test_identical_texts_are_encoded_once(trained):
    corpus = write_corpus([Document(id=f"d{number:06d}", text="the same words") for number in range(100_000)])
    answer = call("embed", corpus=corpus, encoder=trained.encoder)
    assert (answer.documents, answer.forward_passes) == (100_000, 1)
    stored = vectors(load_exactly(open_store(), "shard", answer.shard))
    assert stored.shape == (100_000, 384)
    assert (stored == stored[0]).all()
