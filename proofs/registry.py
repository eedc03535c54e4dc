"""`make proof-registry`: what served when, promotions killed and raced, rollbacks timed, aliases and entries tampered with.

Twice: MLflow on SQLite and files with the store on disk, MLflow on PostgreSQL and S3 with the store on S3; all real servers.
Writes build/proof/registry.json, exit 1 if a goal is missed. `--points 5 --questions 10 --drills 1` is a short run.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.__main__ import main as command_line
from pipelines.contract import load_step
from pipelines.deployment.readiness import wait_until
from pipelines.errors import StepError
from pipelines.settings import bound_mlflow, environment, settings
from pipelines.store.journal import Journal, Routing, entry_path
from pipelines.store.objects import Store, open_store
from proofs.kill_points import CHILDREN, PATIENCE_S
from tests.conftest import call, embedded_release
from tests.figures import met, write_figures
from tests.releases import Releases, some_icons
from tests.services import mlflow, postgres, seaweedfs

SEED = 21
KEY = "k" * 32
RACERS = 6
GOALS = {
    "kill_points": "≥ 20", "race_winners": "≤ 1", "history_questions": "≥ 50", "serving_rollback_s": "≤ 1",
    "rollback_s": "≤ 10", "projections_s": "≤ 60", "aliases_planted": "≥ 5", "entries_tampered": "≥ 10",
}  # fmt: skip
PAIRS = (
    ("kill_points", "kill_points_passed"), ("history_questions", "history_answers_correct"),
    ("aliases_planted", "aliases_mended"), ("entries_tampered", "entries_tampered_found"),
)  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """How much is tried in each of the two settings."""

    points: int = 10
    questions: int = 60
    drills: int = 3


def small_releases(home: Path) -> Releases:
    """Three releases of twelve icons each, by one encoder, in the store of the environment."""
    encoder = call("export_encoder").encoder
    made = []
    for number in range(3):
        corpus = call("ingest", folder=str(some_icons(home / str(number), 12 * number, 12))).corpus
        made.append(embedded_release(home, corpus, encoder).release)
    return Releases(home, encoder, *made)


def upload(folder: Path, store: Store) -> None:
    """Copy a store on disk, without its journal, into another."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not str(path.relative_to(folder)).startswith(("journal", "lineage")):
            store.write(str(path.relative_to(folder)), path.read_bytes())


def client() -> Any:
    """A client of the MLflow of the settings."""
    bound_mlflow()
    from mlflow.tracking import MlflowClient

    return MlflowClient(settings().mlflow_uri)


def shown() -> dict[str, str]:
    """The release that each alias points at in MLflow."""
    registry = client()
    aliases = registry.get_registered_model("release").aliases
    return {alias: registry.get_model_version("release", number).tags["release"] for alias, number in aliases.items()}


def expected(journal: Journal) -> dict[str, str]:
    """The same by the journal."""
    by_journal = {**journal.routing.roles, "previous": journal.previous_champion()}
    return {alias: release for alias, release in by_journal.items() if release}


def _die_at(point: int) -> None:
    """Make this process end itself before (even points) or after (odd) its operation number point // 2.

    Operations are those of the store and the requests to MLflow; a negative point counts without ending.
    """
    import requests

    store_operation, send, numbers = Store.operation, requests.Session.send, iter(range(1_000_000))

    def at(moment: int) -> None:
        if moment == point:
            os._exit(9)

    @contextlib.contextmanager
    def operation(self: Store, name: str, path: str) -> Iterator[None]:
        number = next(numbers)
        at(2 * number)
        try:
            with store_operation(self, name, path):
                yield
        finally:
            at(2 * number + 1)

    def sent(self: Any, *arguments: Any, **options: Any) -> Any:
        number = next(numbers)
        at(2 * number)
        try:
            return send(self, *arguments, **options)
        finally:
            at(2 * number + 1)

    Store.operation = operation  # type: ignore[method-assign]
    requests.Session.send = sent  # type: ignore[method-assign]
    Counted.numbers = numbers


class Counted:
    """The counter of this process's operations."""

    numbers: Iterator[int] = iter(())


def _victim(variables: dict[str, str], verdict: str, point: int, counted: Any) -> None:
    os.environ.clear()  # the fork server's has what was set when it started
    os.environ.update(variables)
    _die_at(point)
    call("promote", verdict=verdict)
    counted.put(next(Counted.numbers))
    counted.close()
    counted.join_thread()
    os._exit(0)


def promoted_in_child(verdict: str, point: int) -> tuple[int | None, int]:
    """Promote in a process that ends itself at a point; its exit code, and the operations that it counted if it completed."""
    counted = CHILDREN.Queue()
    child = CHILDREN.Process(target=_victim, args=(dict(os.environ), verdict, point, counted))
    child.start()
    child.join(4 * PATIENCE_S)
    return child.exitcode, counted.get(timeout=5) if child.exitcode == 0 else 0


def forget(release: str) -> None:
    """Remove a release's version from MLflow and its card from the store, so that a promotion makes both again."""
    store = open_store()
    for name in store.names("report/"):
        manifest = json.loads(store.read(f"report/{name}/manifest.json")) if store.size(f"report/{name}/manifest.json") else {}
        if manifest.get("recipe", {}).get("inputs", {}).get("release") == release:
            store.delete(f"report/{name}/manifest.json")
    if settings().mlflow_uri:
        registry = client()
        for version in registry.search_model_versions("name='release'"):
            if version.tags["release"] == release:
                registry.delete_model_version("release", version.version)


def killed_promotions(releases: Releases, points: int) -> tuple[int, int]:
    """Kill a promotion at so many points, spread over all its operations; how many kills, and how many a retry made good."""
    champion = Journal(open_store()).routing.champion or ""
    verdicts = {release: releases.verdict(release, champion) for release in (releases.b, releases.c)}
    os.environ["RATCHET_DAG"] = "promote_release"
    os.environ["RATCHET_DAG_RUN"] = "counted"
    forget(releases.c)
    code, operations = promoted_in_child(verdicts[releases.c], -1)
    assert code == 0, "a promotion that nobody kills completes"
    kills = passed = 0
    for number in range(points):
        release = (releases.b, releases.c)[number % 2]
        os.environ["RATCHET_DAG_RUN"] = f"killed__{number}"
        forget(release)
        before = len(Journal(open_store()).entries)
        code, _ = promoted_in_child(verdicts[release], (2 * operations * number) // points)
        kills += code == 9
        passed += code == 9 and _made_good(release, verdicts[release], before)
    del os.environ["RATCHET_DAG"], os.environ["RATCHET_DAG_RUN"]
    return kills, passed


def _made_good(release: str, verdict: str, before: int) -> bool:
    """Whether the next try finishes the promotion: one entry, and MLflow shows it."""
    Journal(open_store())  # nothing torn
    call("promote", verdict=verdict)
    journal = Journal(open_store())
    whole = len(journal.entries) == before + 1 and journal.routing.challenger == release
    if settings().mlflow_uri:
        call("reconcile")
        whole = whole and shown() == expected(journal)
    if not whole:
        print(f"NOT made good: {release}, {len(journal.entries) - before} entries, routing {journal.routing}", flush=True)
    return whole


def _racer(variables: dict[str, str], number: int, verdict: str, together: Any, answers: Any) -> None:
    """Promote a verdict; the entry is written once all racers have read the journal."""
    os.environ.clear()  # the fork server's has what was set when it started
    os.environ.update(variables)
    append = Journal.append

    def late(self: Journal, *arguments: Any, **options: Any) -> Any:
        together.wait(3 * PATIENCE_S)
        return append(self, *arguments, **options)

    Journal.append = late  # type: ignore[method-assign]
    try:
        result = load_step("promote").call({"verdict": verdict, "who": f"racer{number}"})
    except StepError as error:
        answers.put({"won": False, "error": str(error), "who": f"racer{number}"})
    else:
        answers.put({"won": result.changed, "error": "", "who": f"racer{number}"})


def raced_promotions(releases: Releases) -> int:
    """So many processes promote two releases at once; how many won. Each of the others was told who won."""
    journal = Journal(open_store())
    verdicts = [releases.verdict(release, journal.routing.champion or "", raced=True) for release in (releases.b, releases.c)]
    before = len(journal.entries)
    together, answers = CHILDREN.Barrier(RACERS), CHILDREN.Queue()
    variables = {**os.environ, "RATCHET_MLFLOW_URI": ""}
    children = [
        CHILDREN.Process(target=_racer, args=(variables, number, verdicts[number % 2], together, answers))
        for number in range(RACERS)
    ]
    for child in children:
        child.start()
    received = [answers.get(timeout=4 * PATIENCE_S) for _ in children]
    for child in children:
        child.join(PATIENCE_S)
    winners = [answer["who"] for answer in received if answer["won"]]
    assert len(Journal(open_store()).entries) == before + len(winners)
    assert all(f"which {winners[0]} wrote first: promote to" in answer["error"] for answer in received if not answer["won"])
    return len(winners)


def written_history(store: Store, entries: int, draw: random.Random) -> list[tuple[datetime, str, str, str]]:
    """Write a journal of so many entries; for each its time, the champion since then, who made it champion, and why."""
    journal, at = Journal(store), datetime(2026, 1, 1, tzinfo=UTC)
    facts: list[tuple[datetime, str, str, str]] = []
    champion = who = why = ""
    strftime = time.strftime
    for number in range(entries):
        at += timedelta(seconds=draw.randint(1, 100_000))
        release, actor = f"{draw.randrange(16**20):020x}", draw.choice(["ada", "bob", "eve"])
        action = draw.choice(["promote", "deploy", "rollback", "waive"])
        written = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        time.strftime = lambda *_, written=written: written  # type: ignore[assignment,misc]
        try:
            if action in ("deploy", "rollback"):
                champion, who, why = release, actor, f"reason {number}"
                journal.append(action, release, why, Routing(champion=release), who=actor)  # type: ignore[arg-type]
            elif action == "promote":
                journal.append("promote", release, "x", Routing(champion=champion or None, challenger=release), who=actor)
            else:
                journal.append("waive", release, "x", who=actor)
        finally:
            time.strftime = strftime  # type: ignore[assignment]
        facts.append((at, champion, who, why))
    return facts


def asked_history(questions: int, entries: int = 60) -> tuple[int, int]:
    """Ask who served at random moments; how many questions, and how many were answered as it was written."""
    draw = random.Random(SEED)
    facts = written_history(open_store(), entries, draw)
    first, last, correct = facts[0][0], facts[-1][0], 0
    for number in range(questions):
        at = first - timedelta(days=1) + draw.random() * (last - first + timedelta(days=2))
        at = draw.choice(facts)[0] if number % 3 == 0 else at.replace(microsecond=0)
        known = [fact for fact in facts if fact[0] <= at]
        champion, who, why = known[-1][1:] if known else ("", "", "")
        answer = call("history", at=at.isoformat(), limit=1)
        said = f" by {who}" in answer.sentence and answer.sentence.endswith(f": {why}") if champion else not answer.champion
        correct += answer.champion == champion and said
    return questions, correct


def tampered_entries() -> tuple[int, int]:
    """Alter or remove entries of an audited journal, one at a time; how many, and how many `audit` found."""
    store = open_store()
    audited = call("audit").entries
    tampered = found = 0
    for number in sorted({1, 2, audited // 2, audited - 1, audited, *range(3, audited, max(1, audited // 8))}):
        path = entry_path(number)
        body = store.read(path)
        for changed in (None, body.replace(b'"who": "', b'"who": "x'), body.replace(b'"why": "', b'"why": "not ')):
            store.delete(path)
            if changed is not None:
                store.write(path, changed)
            tampered += 1
            found += command_line(["audit"]) == 2
            store.write(path, body)
    assert command_line(["audit"]) == 0, "as it was before"
    return tampered, found


def planted_aliases(releases: Releases) -> tuple[int, int]:
    """Move, remove and add aliases by hand, and take a version away; how many, and how many `reconcile` mended."""
    registry = client()
    right = expected(Journal(open_store()))
    numbers = {version.tags["release"]: version.version for version in registry.search_model_versions("name='release'")}
    others = {alias: next(number for release, number in numbers.items() if release != right.get(alias)) for alias in right}
    plants: list[Callable[[], Any]] = []
    for alias, number in others.items():
        plants.append(lambda alias=alias, number=number: registry.set_registered_model_alias("release", alias, number))
        plants.append(lambda alias=alias: registry.delete_registered_model_alias("release", alias))
    plants.append(lambda: registry.delete_model_version("release", numbers[right["champion"]]))
    mended = 0
    for plant in plants:
        plant()
        told = call("reconcile").differences
        mended += bool(told) and shown() == expected(Journal(open_store())) and not call("reconcile").differences
    return len(plants), mended


@contextlib.contextmanager
def search_server(folder: Path) -> Iterator[None]:
    """A search server of the store, named in the environment."""
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "images.serve"],
            env=environment({"RATCHET_SERVER_PORT": "0", "RATCHET_SERVER_KEY": KEY}),
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, (folder / "server.log").read_text()[-3000:]
        os.environ |= {"RATCHET_SERVER_URL": json.loads(line)["url"], "RATCHET_SERVER_KEY": KEY}
        yield
    finally:
        os.environ.pop("RATCHET_SERVER_URL", None)
        child.terminate()
        child.wait(20)


def drilled(folder: Path, drills: int) -> dict[str, float]:
    """Drill by the command line beside a real server; the slowest of each time. The trigger is the start of the command."""
    times: dict[str, float] = {}
    journal = Journal(open_store())
    with search_server(folder):
        warm = {journal.previous_champion(), journal.routing.champion}
        assert wait_until(lambda server: warm <= set(server.warm), 90)[0], "the server has both champions in memory"
        for _ in range(drills):
            now = datetime.now(UTC).isoformat()
            done = subprocess.run(
                [sys.executable, "-m", "pipelines", "drill", "--triggered", now],
                env=environment({}), capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
            answer = json.loads(done.stdout)
            for name in ("serving_s", "rollback_s", "projections_s"):
                times[name] = max(times.get(name, 0.0), answer[name])
    return {
        "serving_rollback_s": times["serving_s"],
        "rollback_s": times["rollback_s"],
        "projections_s": times["projections_s"],
    }


def measured(folder: Path, releases: Releases, counts: Counts) -> dict[str, Any]:
    """All figures in the store and the MLflow of the environment."""
    releases.deployed(releases.a)
    kills, passed = killed_promotions(releases, counts.points)
    winners = raced_promotions(releases)
    if Journal(open_store()).routing.challenger is None:
        releases.promoted(releases.b)
    call("deploy")
    call("reconcile")
    times = drilled(folder, counts.drills)
    planted, mended = planted_aliases(releases)
    figures = {"kill_points": kills, "kill_points_passed": passed, "race_winners": winners, **times}
    return {**figures, "aliases_planted": planted, "aliases_mended": mended}


def journal_figures(counts: Counts) -> dict[str, int]:
    """Figures of a journal of its own, in the store of the environment."""
    questions, correct = asked_history(counts.questions)
    tampered, found = tampered_entries()
    answers = {"history_questions": questions, "history_answers_correct": correct}
    return {**answers, "entries_tampered": tampered, "entries_tampered_found": found}


def proof(counts: Counts) -> dict[str, Any]:
    """The figures of both settings: sums of counts, the slowest of times."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        os.environ |= {"RATCHET_HOME": str(folder / "home"), "RATCHET_LOG_LEVEL": "error"}
        releases = small_releases(folder)
        s3 = stack.enter_context(seaweedfs(folder / "s3"))
        backend = stack.enter_context(postgres(folder / "postgres"))
        account = {**s3.environment, "MLFLOW_S3_ENDPOINT_URL": s3.endpoint}
        for name in ("disk", "s3"):
            (folder / f"run-{name}").mkdir()
            store, history = (f"file://{folder}/{part}" for part in ("home/store", "history"))
            if name == "s3":
                os.environ |= s3.environment
                bucket = s3.create_bucket("registry")
                store, history = f"{bucket}/releases", f"{bucket}/history"
            os.environ["RATCHET_STORE"] = store
            if name == "s3":
                upload(folder / "home/store", open_store())
            server = mlflow(
                folder / f"mlflow-{name}", *((backend, s3.create_bucket("mlflow"), account) if name == "s3" else ())
            )
            with server as uri:
                os.environ["RATCHET_MLFLOW_URI"] = uri
                found.append(measured(folder / f"run-{name}", releases, counts))
                os.environ["RATCHET_MLFLOW_URI"] = ""
            os.environ["RATCHET_STORE"] = history
            found[-1] |= journal_figures(counts)
            print(name, found[-1], flush=True)
    total = {key: [one[key] for one in found] for key in found[0]}
    return {key: max(values) if key.endswith(("_s", "winners")) else sum(values) for key, values in total.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    defaults = Counts()
    for name in ("points", "questions", "drills"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    counts = Counts(**vars(parser.parse_args()))
    figures = proof(counts)
    write_figures("proof/registry", figures, seed=SEED, runs=2, goals=GOALS)
    missed = [name for name, goal in GOALS.items() if not met(figures[name], goal)]
    missed += [passed for whole, passed in PAIRS if figures[whole] != figures[passed]]
    print(f"missed: {', '.join(missed) or 'nothing'}")
    return 1 if missed or figures["race_winners"] != 1 else 0


if __name__ == "__main__":
    sys.exit(main())
