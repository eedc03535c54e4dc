"""Proofs of the store and the journal under races and kills: one process wins a race, and a kill leaves nothing torn.

`python -m proofs.kill_points` prints the figures, for a store on disk and for one on a real S3.
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
from pipelines.store.artifacts import Artifact, committed, find, load_exactly, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from tests.services import seaweedfs

RACERS = 20
SIGKILLS = 20
SEED = 7
"""Of the random moments of SIGKILL."""
FILES = 3
PATIENCE_S = 60.0
CHILDREN = multiprocessing.get_context("forkserver")  # a plain fork does not copy obstore's threads
CHILDREN.set_forkserver_preload(["pipelines.store.journal", "structlog.testing"])


def recipe(name: str) -> Recipe:
    return Recipe(kind="report", step="proof", version=1, inputs={"name": name}, params={})


def build(folder: Path, content: str) -> dict[str, Any]:
    """Write FILES files, one of them large enough to be written in several pieces."""
    for number in range(FILES):
        (folder / f"part-{number}.txt").write_text(f"{content} {number}\n" * (1 + 40_000 * (number == 1)))
    return {"content": content}


def whole(artifact: Artifact) -> str:
    """Read and verify every file; returns the content, which must be of one run."""
    texts = {artifact.text(name).split(" ")[0] for name in artifact.manifest.files}
    assert len(artifact.manifest.files) == FILES
    assert texts == {artifact.facts["content"]}
    return str(artifact.facts["content"])


@dataclass(frozen=True)
class Sandbox:
    """A store for one proof: the environment variables with its URI and credentials."""

    environment: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def activated(self) -> Iterator[Store]:
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield open_store()
        finally:
            os.environ.clear()
            os.environ.update(before)


def race(sandbox: Sandbox, run: Callable[[Store, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Run `run` in RACERS processes at the same moment; returns their answers, each with the events it logged."""
    start, answers = CHILDREN.Barrier(RACERS), CHILDREN.Queue()
    children = [CHILDREN.Process(target=_racer, args=(sandbox, run, number, start, answers)) for number in range(RACERS)]
    for child in children:
        child.start()
    received = [answers.get(timeout=PATIENCE_S) for _ in children]
    for child in children:
        child.join(PATIENCE_S)
    return received


def _racer(sandbox: Sandbox, run: Callable[[Store, int], dict[str, Any]], number: int, start: Any, answers: Any) -> None:
    with sandbox.activated() as store, capture_logs() as logs:
        start.wait(PATIENCE_S)
        answer = run(store, number)
    answers.put({**answer, "logs": [line["event"] for line in logs]})


def race_artifact(sandbox: Sandbox) -> list[dict[str, Any]]:
    """RACERS processes produce one id, each with different bytes; returns the answers of the winners."""
    answers = race(sandbox, _race_artifact)
    with sandbox.activated() as store:
        assert committed(store, "report") == [recipe("race").id]
        final = find(store, "report", recipe("race").id)
        assert final is not None
        assert {answer["content"] for answer in answers} == {whole(final)}
    assert all(any("lost the race" in event for event in answer["logs"]) for answer in answers if not answer["won"])
    return [answer for answer in answers if answer["won"]]


def _race_artifact(store: Store, number: int) -> dict[str, Any]:
    commit_at = time.monotonic() + 1.0  # by then all have looked for the artifact

    def build_slowly(folder: Path) -> dict[str, Any]:
        facts = build(folder, f"racer{number}")
        time.sleep(max(0.0, commit_at - time.monotonic()))
        return facts

    artifact = produce(store, recipe("race"), build_slowly)
    return {"content": whole(artifact), "won": not artifact.found}


def race_entry(sandbox: Sandbox) -> list[dict[str, Any]]:
    """RACERS processes append the same journal entry; returns the answers of the winners."""
    answers = race(sandbox, _race_entry)
    with sandbox.activated() as store:
        assert len(Journal(store).entries) == 1
    assert all("nobody else wrote it" in answer["error"] for answer in answers if not answer["won"])
    return [answer for answer in answers if answer["won"]]


def _race_entry(store: Store, number: int) -> dict[str, Any]:
    try:
        Journal(store, read=False).append("promote", "a" * 20, "race", Routing(challenger="a" * 20), who="racer")
    except TryAgain as error:
        return {"won": False, "error": str(error)}
    return {"won": True}


def whole_run(store: Store, name: str) -> tuple[str, int]:
    """One artifact and one journal entry that names it, found by a retry; returns the id and the number of entries."""
    artifact = produce(store, recipe(name), lambda folder: build(folder, "kept"))
    journal = Journal(store)
    if artifact.id not in [entry.to for entry in journal.entries]:
        journal.append("promote", artifact.id, "proof", Routing(challenger=artifact.id), who="proof")
    return artifact.id, len(journal.entries)


def killing(store: Store, point: int) -> Store:
    """The store, patched to end the process before (even points) or after (odd) operation point // 2."""
    original, numbers = store.operation, iter(range(1_000_000))

    @contextlib.contextmanager
    def operation(name: str, path: str) -> Iterator[None]:
        number = next(numbers)
        if point == 2 * number:
            os._exit(9)
        try:
            with original(name, path):
                yield
        finally:  # also after an operation that raises
            if point == 2 * number + 1:
                os._exit(9)

    store.operation = operation  # type: ignore[method-assign]
    return store


def nothing_torn(store: Store, name: str) -> None:
    """Assert that every committed artifact is whole and that the journal can be read and names artifacts that exist."""
    artifact = find(store, "report", recipe(name).id)
    assert artifact is None or whole(artifact) == "kept"
    for artifact_id in committed(store, "report"):
        whole(load_exactly(store, "report", artifact_id))
    for entry in Journal(store).entries:
        assert load_exactly(store, "report", entry.to)


def victim(sandbox: Sandbox, name: str, point: int) -> Any:
    """Start a child that does a whole run and ends itself at a kill point; at a negative point it completes."""
    child = CHILDREN.Process(target=_victim, args=(sandbox, name, point))
    child.start()
    return child


def _victim(sandbox: Sandbox, name: str, point: int) -> None:
    with sandbox.activated() as store, capture_logs():
        whole_run(killing(store, point), name)
    os._exit(0)


def kill_points(sandbox_for: Callable[[str], Sandbox], every: int = 1) -> tuple[int, int]:
    """End a run before and after its operations until one completes; how many kills there were and how many left no harm.

    Args:
        sandbox_for: makes a store of its own for a name.
        every: kill at each point (1), or only at each so manieth.
    """
    point = kills = passed = 0
    while True:
        name = f"point-{point}"
        child = victim(sandbox_for(name), name, point)
        child.join(PATIENCE_S)
        if child.exitcode == 0:
            return kills, passed
        assert child.exitcode == 9
        kills, point = kills + 1, point + every
        passed += survives(sandbox_for(name), name)


def survives(sandbox: Sandbox, name: str) -> bool:
    """Whether nothing torn is readable and a retry completes with the same ids."""
    with sandbox.activated() as store, capture_logs():
        nothing_torn(store, name)
        first = whole_run(store, name)
        assert first[0] == recipe(name).id
        assert whole_run(store, name) == first
        nothing_torn(store, name)
    return True


def random_kills(sandbox_for: Callable[[str], Sandbox], seed: int = SEED) -> tuple[int, int]:
    """SIGKILL a run at random moments of its duration; returns the number of kills and of those that it survived."""
    draw, hit, passed = random.Random(seed), 0, 0
    started = time.monotonic()
    victim(sandbox_for("timed"), "timed", -1).join(PATIENCE_S)
    duration = time.monotonic() - started
    for number in range(10 * SIGKILLS):
        if hit == SIGKILLS:
            break
        name = f"random-{number}"
        child = victim(sandbox_for(name), name, -1)
        time.sleep(draw.uniform(0.1, 1) * duration)
        child.kill()
        child.join(PATIENCE_S)
        killed = child.exitcode == -signal.SIGKILL  # else it had completed
        hit, passed = hit + killed, passed + (survives(sandbox_for(name), name) and killed)
    return hit, passed


def local_sandbox(folder: Path) -> Sandbox:
    return Sandbox({"RATCHET_HOME": str(folder), "RATCHET_STORE": f"file://{folder}/store"})


def proof() -> dict[str, int]:
    """The figures, from a store on disk and one on a real S3.

    Raises:
        AssertionError: a proof fails.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        s3 = stack.enter_context(seaweedfs(folder / "s3"))
        bucket = s3.create_bucket("proof")

        def on_disk(name: str) -> Sandbox:
            return local_sandbox(folder / "disk" / name)

        def on_s3(name: str) -> Sandbox:
            return Sandbox({**s3.environment, "RATCHET_HOME": str(folder / "home" / name), "RATCHET_STORE": f"{bucket}/{name}"})

        winners, points, passed = [], 0, 0
        for sandbox_for in (on_disk, on_s3):
            winners += [len(race_artifact(sandbox_for("race"))), len(race_entry(sandbox_for("race-entry")))]
            for count, survived in (kill_points(sandbox_for), random_kills(sandbox_for)):
                points, passed = points + count, passed + survived
    assert set(winners) == {1}, winners
    return {"race_winners": winners[0], "kill_points": points, "kill_points_passed": passed}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(proof()) + "\n")
