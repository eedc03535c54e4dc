"""The proofs of the store and the journal: races that one wins, and kills after which nothing torn can be read.

Run alone: `python -m proofs.kill_points` prints the figures, for a store on disk and for one on a real S3.
"""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from pipelines.errors import TryAgain
from pipelines.store.artifacts import Artifact, committed, find, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from tests.services import seaweedfs

RACERS = 20
SIGKILLS = 20
SEED = 7
"""Of the moments at which SIGKILL comes."""
FILES = 3
PATIENCE_S = 60.0
CHILDREN = multiprocessing.get_context("forkserver")  # a plain fork would inherit obstore's threads as corpses
CHILDREN.set_forkserver_preload(["pipelines.store.journal", "structlog.testing"])


def recipe(name: str) -> Recipe:
    return Recipe(kind="report", step="proof", version=1, inputs={"name": name}, params={})


def build(folder: Path, content: str) -> dict[str, Any]:
    """Some files, one of them large enough to be written in several pieces."""
    for number in range(FILES):
        (folder / f"part-{number}.txt").write_text(f"{content} {number}\n" * (1 + 40_000 * (number == 1)))
    return {"content": content}


def whole(artifact: Artifact) -> str:
    """Read and verify every file; all of them are of one run, whose content is returned."""
    texts = {artifact.text(name).split(" ")[0] for name in artifact.manifest.files}
    assert len(artifact.manifest.files) == FILES
    assert texts == {artifact.facts["content"]}
    return str(artifact.facts["content"])


@dataclass(frozen=True)
class Lane:
    """Where one racer or victim works: a store, whose URI and account are in `environment`."""

    environment: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def entered(self) -> Iterator[Store]:
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield open_store()
        finally:
            os.environ.clear()
            os.environ.update(before)


def raced(lane: Lane, run: Callable[[Store, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """What each of 20 processes answers that start `run` at the same moment."""
    start, answers = CHILDREN.Barrier(RACERS), CHILDREN.Queue()
    children = [CHILDREN.Process(target=_racer, args=(lane, run, number, start, answers)) for number in range(RACERS)]
    for child in children:
        child.start()
    found = [answers.get(timeout=PATIENCE_S) for _ in children]
    for child in children:
        child.join(PATIENCE_S)
    return found


def _racer(lane: Lane, run: Callable[[Store, int], dict[str, Any]], number: int, start: Any, answers: Any) -> None:
    with lane.entered() as store, capture_logs() as logs:
        start.wait(PATIENCE_S)
        answer = run(store, number)
    answers.put({**answer, "logs": [line["event"] for line in logs]})


def race_artifact(lane: Lane) -> list[dict[str, Any]]:
    """20 processes produce one id, each with bytes of its own."""
    answers = raced(lane, _race_artifact)
    with lane.entered() as store:
        assert committed(store, "report") == [recipe("race").id]
        final = find(store, "report", recipe("race").id)
        assert final is not None
        assert {answer["content"] for answer in answers} == {whole(final)}
    assert all(any("lost the race" in event for event in answer["logs"]) for answer in answers if not answer["won"])
    return [answer for answer in answers if answer["won"]]


def _race_artifact(store: Store, number: int) -> dict[str, Any]:
    meet = time.monotonic() + 1.0  # all have looked for the artifact before anyone commits it

    def slowly(folder: Path) -> dict[str, Any]:
        facts = build(folder, f"racer{number}")
        time.sleep(max(0.0, meet - time.monotonic()))
        return facts

    artifact = produce(store, recipe("race"), slowly)
    return {"content": whole(artifact), "won": not artifact.found}


def race_entry(lane: Lane) -> list[dict[str, Any]]:
    """20 processes append the same journal entry: nothing but the writer differs."""
    answers = raced(lane, _race_entry)
    with lane.entered() as store:
        assert len(Journal(store).entries) == 1
    assert all("nobody else wrote it" in answer["said"] for answer in answers if not answer["won"])
    return [answer for answer in answers if answer["won"]]


def _race_entry(store: Store, number: int) -> dict[str, Any]:
    try:
        Journal(store, read=False).append("promote", "a" * 20, "race", Routing(challenger="a" * 20), who="racer")
    except TryAgain as error:
        return {"won": False, "said": str(error)}
    return {"won": True}


def whole_run(store: Store, name: str) -> tuple[str, int]:
    """One artifact and one entry that names it, as a step does; a retry finds what was done."""
    artifact = produce(store, recipe(name), lambda folder: build(folder, "kept"))
    journal = Journal(store)
    if artifact.id not in [entry.to for entry in journal.entries]:
        journal.append("promote", artifact.id, "proof", Routing(challenger=artifact.id), who="proof")
    return artifact.id, len(journal.entries)


def killing(store: Store, point: int) -> Store:
    """The store, in which the process ends before (even points) or after (odd) operation point // 2."""
    plain, passed = store.operation, iter(range(1_000_000))

    @contextlib.contextmanager
    def operation(name: str, path: str) -> Iterator[None]:
        number = next(passed)
        if point == 2 * number:
            os._exit(9)
        try:
            with plain(name, path):
                yield
        finally:  # also after an operation that found nothing
            if point == 2 * number + 1:
                os._exit(9)

    store.operation = operation  # type: ignore[method-assign]
    return store


def nothing_torn(store: Store, name: str) -> None:
    """Whatever can be found is whole, and the journal can be read."""
    found = find(store, "report", recipe(name).id)
    assert found is None or whole(found) == "kept"
    for artifact_id in committed(store, "report"):
        whole(found_exactly(store, artifact_id))
    for entry in Journal(store).entries:
        assert found_exactly(store, entry.to)


def found_exactly(store: Store, artifact_id: str) -> Artifact:
    artifact = find(store, "report", artifact_id)
    assert artifact is not None
    return artifact


def victim(lane: Lane, name: str, point: int) -> Any:
    """A child at work, which ends itself at a kill point; with a negative one it lives."""
    child = CHILDREN.Process(target=_victim, args=(lane, name, point))
    child.start()
    return child


def _victim(lane: Lane, name: str, point: int) -> None:
    with lane.entered() as store, capture_logs():
        whole_run(killing(store, point), name)
    os._exit(0)


def kill_points(lane_for: Callable[[str], Lane], every: int = 1) -> tuple[int, int]:
    """End a run before and after its operations until one completes; how many kills there were and how many left no harm.

    Args:
        lane_for: makes a store of its own for a name.
        every: kill at each point (1), or only at each so manieth.
    """
    point = kills = passed = 0
    while True:
        name = f"point-{point}"
        child = victim(lane_for(name), name, point)
        child.join(PATIENCE_S)
        if child.exitcode == 0:
            return kills, passed
        assert child.exitcode == 9
        kills, point = kills + 1, point + every
        passed += survives(lane_for(name), name)


def survives(lane: Lane, name: str) -> bool:
    """Whether nothing torn is readable and a retry completes with the same ids."""
    with lane.entered() as store, capture_logs():
        nothing_torn(store, name)
        first = whole_run(store, name)
        assert first[0] == recipe(name).id
        assert whole_run(store, name) == first
        nothing_torn(store, name)
    return True


def random_kills(lane_for: Callable[[str], Lane], seed: int = SEED) -> tuple[int, int]:
    """SIGKILL a run at random moments of its duration; how many kills hit it and how many left no harm."""
    chance, hit, passed = random.Random(seed), 0, 0
    started = time.monotonic()
    victim(lane_for("timed"), "timed", -1).join(PATIENCE_S)
    duration = time.monotonic() - started
    for number in range(10 * SIGKILLS):
        if hit == SIGKILLS:
            break
        name = f"random-{number}"
        child = victim(lane_for(name), name, -1)
        time.sleep(chance.uniform(0.1, 1) * duration)
        child.kill()
        child.join(PATIENCE_S)
        struck = child.exitcode == -signal.SIGKILL  # else it was done before
        hit, passed = hit + struck, passed + (survives(lane_for(name), name) and struck)
    return hit, passed


def local_lane(folder: Path) -> Lane:
    return Lane({"RATCHET_HOME": str(folder), "RATCHET_STORE": f"file://{folder}/store"})


def proof() -> dict[str, int]:
    """The figures, from a store on disk and one on a real S3. Raises AssertionError where a proof fails."""
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        s3 = stack.enter_context(seaweedfs(folder / "s3"))
        bucket = s3.create_bucket("proof")

        def on_disk(name: str) -> Lane:
            return local_lane(folder / "disk" / name)

        def on_s3(name: str) -> Lane:
            return Lane({**s3.environment, "RATCHET_HOME": str(folder / "home" / name), "RATCHET_STORE": f"{bucket}/{name}"})

        winners, points, passed = [], 0, 0
        for lane_for in (on_disk, on_s3):
            winners += [len(race_artifact(lane_for("race"))), len(race_entry(lane_for("race-entry")))]
            for count, survived in (kill_points(lane_for), random_kills(lane_for)):
                points, passed = points + count, passed + survived
    assert set(winners) == {1}, winners
    return {"race_winners": winners[0], "kill_points": points, "kill_points_passed": passed}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(proof()) + "\n")
