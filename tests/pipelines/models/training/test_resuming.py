"""A training that was killed goes on from its last checkpoint, and a full disk leaves nothing half-written."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count

import pytest
from structlog.testing import capture_logs

from pipelines.errors import TryAgain
from pipelines.models.training import trainer
from pipelines.models.training.checkpoints import TrainingCheckpoints
from pipelines.models.training.cross_encoder import CrossEncoder
from pipelines.settings import environment
from pipelines.store.artifacts import committed, load
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import PROJECT
from tests.pipelines.models.training.conftest import train

SLOW = {"learning_rate": 3e-3, "batch_size": 4, "epochs": 8, "patience": 8, "precision": "fp32"}


def weights(reranker):
    return load(open_store(), "reranker", reranker).manifest.files["model/model.safetensors"].sha256


def started(base, release, **values):
    small = {"base": base, "release": release, "threads": 1, "candidates": 8, "dev_queries": 20}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**small, **SLOW, **values}.items()]
    return subprocess.Popen(
        warm.command("-m", "pipelines", "train_reranker", *options),
        cwd=PROJECT,
        env=environment({"RATCHET_LOG_FORMAT": "json"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def complete():
    """The checkpoints that are whole."""
    return {file.path for file in open_store().listed("checkpoints/") if file.path.endswith("complete.json")}


def wait_for_a_checkpoint(process, beyond=frozenset()):
    deadline = time.monotonic() + 60
    while not complete() - beyond:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_that_was_told_to_stop_and_then_killed_goes_on_and_ends_with_the_same_weights(
    base, release, home, monkeypatch
):
    untouched = home.parent / "untouched"
    shutil.copytree(home, untouched, copy_function=os.link)
    kept = set()
    for number, code in ((signal.SIGTERM, 75), (signal.SIGKILL, -9)):
        process = started(base, release)
        wait_for_a_checkpoint(process, kept)
        process.send_signal(number)
        _, log = process.communicate(timeout=60)
        assert process.returncode == code, log
        assert ("training goes on" in log) == bool(kept)
        if number == signal.SIGTERM:
            assert "told to stop at step" in log
            assert "what is done is kept" in log
        assert committed(open_store(), "reranker") == []
        kept = complete()
    again = started(base, release)
    result, log = again.communicate(timeout=60)
    assert again.returncode == 0, log
    assert "training goes on" in log
    resumed = weights(json.loads(result)["reranker"])
    scores = load(open_store(), "reranker", json.loads(result)["reranker"]).json("reranker.json")["scores"]
    assert list(open_store().listed("checkpoints/")) == []
    monkeypatch.setenv("RATCHET_HOME", str(untouched))
    whole = train(base, release=release, **SLOW)
    assert resumed == weights(whole.reranker)
    assert scores == load(open_store(), "reranker", whole.reranker).json("reranker.json")["scores"]


@pytest.mark.parametrize(("epochs", "more_steps"), [(1, 2), (2, 0)], ids=["within an epoch", "at an epoch's last step"])
def test_a_training_told_to_stop_while_it_gets_better_goes_on(base, release, home, tmp_path, monkeypatch, epochs, more_steps):
    """What is measured of an unfinished epoch would count as the best, and the best whole one would go."""
    untouched = home.parent / "untouched"
    shutil.copytree(home, untouched, copy_function=os.link)
    options = {**SLOW, "epochs": 3, "release": release}
    with monkeypatch.context() as patch:
        patch.setenv("RATCHET_HOME", str(untouched))
        measure_ever_better(patch)
        whole = load(open_store(), "reranker", train(base, **options).reranker)
    steps = math.ceil(whole.facts["lists"] / SLOW["batch_size"])
    assert steps > 2
    stop = epochs * steps + more_steps
    measure_ever_better(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "defer_sigterm", lambda: told_to_stop(stop))
        with pytest.raises(TryAgain, match=f"at step {stop} of {3 * steps}"):
            train(base, **options)
    (unfinished,) = open_store().names("checkpoints/")
    latest = TrainingCheckpoints(open_store(), unfinished).restore(tmp_path / "restored")
    assert latest == str(tmp_path / f"restored/checkpoint-{stop}")
    with capture_logs() as logs:
        resumed = load(open_store(), "reranker", train(base, **options).reranker)
    assert {"event": "training goes on", "log_level": "info", "checkpoint": f"checkpoint-{stop}"} in logs
    assert resumed.json("reranker.json") == whole.json("reranker.json")
    assert resumed.manifest.files == whole.manifest.files


def measure_ever_better(patch):
    """Every measure of the dev queries while a model learns is better than the one before, also after a stop."""
    measured, evaluator = count(1), trainer._evaluator
    patch.setattr(trainer, "_evaluator", lambda _: evaluator(lambda: next(measured) / 100))


@contextmanager
def told_to_stop(step):
    """As `defer_sigterm`, which is asked after each step: SIGTERM arrives in this one."""
    steps = count(1)
    yield lambda: next(steps) >= step


def test_a_torn_checkpoint_is_passed_over(base, release):
    process = started(base, release)
    wait_for_a_checkpoint(process)
    process.kill()
    process.communicate(timeout=60)
    store = open_store()
    for file in list(store.listed("checkpoints/")):
        if file.path.endswith("model.safetensors"):
            store.write(file.path, store.read(file.path)[:-1])
    again = started(base, release)
    result, log = again.communicate(timeout=60)
    assert again.returncode == 0, log
    assert "a checkpoint can't be used and is passed over" in log
    assert "training goes on" not in log
    assert json.loads(result)["reranker"]


def checkpoints_with(folder, **best):
    """Two checkpoints in the store, each with its state and what the state names as the best."""
    for name, of_name in best.items():
        checkpoint = folder / name.replace("_", "-")
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(name.encode())
        (checkpoint / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": of_name}))
    checkpoints = TrainingCheckpoints(open_store(), "ab")
    checkpoints.save(folder)
    return checkpoints


def test_a_torn_checkpoint_is_written_anew(home, tmp_path):
    checkpoints = checkpoints_with(tmp_path / "first", checkpoint_10=None)
    path = f"{checkpoints.prefix}/checkpoint-10/model.safetensors"
    checkpoints.store.write(path, b"torn")
    assert checkpoints.restore(tmp_path / "second") is None
    assert not (tmp_path / "second" / "checkpoint-10").exists(), "nothing that the trainer would take for a checkpoint"
    checkpoints.save(tmp_path / "first")
    assert checkpoints.store.read(path) == b"checkpoint_10"
    assert checkpoints.restore(tmp_path / "third") == str(tmp_path / "third" / "checkpoint-10")


def test_without_its_best_one_a_checkpoint_is_passed_over(home, tmp_path):
    """A training that goes on from it would end with the last epoch's weights in place of the best one's."""
    checkpoints = checkpoints_with(tmp_path / "first", checkpoint_10=None, checkpoint_20="/gone/checkpoint-10")
    assert checkpoints.restore(tmp_path / "second") == str(tmp_path / "second" / "checkpoint-20")
    checkpoints.store.write(f"{checkpoints.prefix}/checkpoint-10/model.safetensors", b"torn")
    assert checkpoints.restore(tmp_path / "third") is None


def test_a_training_that_had_ended_early_does_not_go_on(base, release, home, monkeypatch):
    """It was killed after its last epoch and before its artifact was there: the next run makes the same one."""
    untouched = home.parent / "untouched"
    shutil.copytree(home, untouched, copy_function=os.link)
    options = {**SLOW, "patience": 1, "release": release}
    with monkeypatch.context() as patch:
        patch.setattr(CrossEncoder, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(base, **options)
    assert list(open_store().listed("checkpoints/"))
    resumed = load(open_store(), "reranker", train(base, **options).reranker)
    monkeypatch.setenv("RATCHET_HOME", str(untouched))
    whole = load(open_store(), "reranker", train(base, **options).reranker)
    assert len(whole.json("reranker.json")["scores"]) < SLOW["epochs"] + 1, "else it did not end early"
    assert resumed.json("reranker.json") == whole.json("reranker.json")
    assert resumed.manifest.files == whole.manifest.files


def killed(*_):
    raise KeyboardInterrupt


def test_without_room_for_a_checkpoint_the_step_says_so_and_leaves_nothing(base, release):
    """The largest file that the process may write is smaller than a checkpoint: as good as a full disk."""
    small = f"--base {base} --release {release} --threads 1 --candidates 8 --dev-queries 20 --epochs 1"
    script = f"ulimit -f 1000; trap '' XFSZ; {sys.executable} -m pipelines train_reranker {small}"
    answer = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 75, answer.stderr
    assert "room" in answer.stderr.splitlines()[-1]
    assert "Traceback" not in answer.stderr
    assert committed(open_store(), "reranker") == []
    assert list(open_store().listed("checkpoints/")) == []
