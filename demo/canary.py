"""`make demo-canary`: a release is deployed by evidence in Airflow four times; three times it does harm and is rolled back.

It ranks as the champion does, and the gate passes it. What is wrong with it is planted in the server, see `demo.planted`. The
searches are the champion's held-out queries, replayed; the clicks are simulated from the judgments. So this shows how a
deployment is decided, and says nothing of how people act.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from demo.__main__ import follow, request, run_quietly, save_report, told_errors, wait_until_served
from demo.airflow_api import AirflowApi
from demo.harms import champion_of
from demo.planted import Harm, heal, plant
from demo.replay import clicks_of
from demo.services import Services
from pipelines.deployment.canary import canary_of, last_canary, stages_seen
from pipelines.errors import InputError, TryAgain
from pipelines.evaluation.qrels import Topics, judged_topics
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store

CLIENTS, SEARCHES_A_S, USERS = 4, 60, 800
"""Clients at once, their searches a second together, and the people they search as."""
STARTS_S = 180
"""Seconds in which the server has a release in memory, also when it was just ended."""
MINUTE_S = 1
"""Seconds of a minute of these deployments, of which each stage would take 30."""
SEEN = {"shares": "0.1 0.5", "searches": "60 2000", "shadow_searches": 200}
TERMS = {"mode": "canary", **SEEN, "minutes": 0, "most_minutes": 6, "tick_s": 1}
"""Fewer clicks need some thousand searches to be seen.

A busy machine ranks little unseen: after `most_minutes` the first users follow.
"""
RECALL = 0.901
"""No other index has this bound, by which the release's id is another than the champion's."""
LABEL = "make demo-canary: replayed queries, simulated clicks"


@dataclass(frozen=True)
class Trial:
    """A deployment: what is wrong with the release, in words and as it is planted, and how that must end."""

    name: str
    told: str
    ends: str
    harm: Harm | None = None
    amount: float = 0.0


TRIALS = (
    Trial("slow", "each of its rankings takes three times as long", "rolled back", "slow", 3.0),
    Trial("crashing", "one of its rankings in 150 ends the server, which is started again", "rolled back", "crash", 1 / 150),
    Trial("worse clicks", "it shows the right documents in reverse order", "rolled back", "backwards"),
    Trial("healthy", "nothing", "passed"),
)


@dataclass(frozen=True)
class Outcome:
    """How a deployment ended."""

    trial: Trial
    outcome: str
    sentence: str
    seconds: float
    unseen: int
    """Searches that the challenger ranked before any user had it."""
    searches: int
    """Those of users that it answered."""
    report: str

    @property
    def line(self) -> str:
        """All of it but the sentence, in one line."""
        seen = f"{self.unseen:,} searches ranked unseen and {self.searches:,} of users"
        return f"{self.trial.name:<13} {self.outcome.upper():<12} after {self.seconds:3.0f} s, {seen}"


class DemoServices(Services):
    """The services with a server that can be harmed, and that counts in short minutes."""

    def _server(self, port: int | None) -> tuple[list[str], dict[str, str]]:
        _, environment = super()._server(port)
        return [sys.executable, "-m", "demo.planted"], {**environment, "RATCHET_COUNTS_S": str(MINUTE_S)}


@dataclass
class Crowd:
    """Clients that replay queries and click, until the block of `open` ends. A server that does not answer is asked again."""

    url: str
    key: str
    topics: Topics
    failed: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """One client."""
        drawn = random.Random(number)  # noqa: S311  # simulated behaviour
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
            while not self._ended.wait(drawn.expovariate(SEARCHES_A_S / CLIENTS)):
                try:
                    self._search(client, drawn)
                except httpx.HTTPError:
                    self.failed += 1
                    self._ended.wait(0.2)

    def _search(self, client: httpx.Client, drawn: random.Random) -> None:
        query = drawn.choice(self.topics.queries)
        user = f"replayed-{drawn.randrange(USERS)}"
        answer = client.get("/v1/search", params={"user": user, "q": query.text, "traffic": "replayed"})
        for click in clicks_of(answer.raise_for_status().json(), self.topics.qrels[query.id], drawn):
            client.post("/v1/clicks", json=click)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let the clients search until the block ends."""
        threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(60)


def release_like(champion: Artifact) -> str:
    """The verdict of a release that ranks as the champion does: of its embeddings, by an index of another recipe.

    One is enough, since what is wrong is planted in the server, and each that is judged spends of the test queries' worth.

    Raises:
        InputError: the gate does not pass it.
    """
    index = run_quietly("index", embeddings=champion.inputs["embeddings"], algorithm="flat", recall=RECALL).index
    release = run_quietly("assemble", index=index, stages=champion.id).release
    evaluated = run_quietly("evaluate", release=release)
    compared = {"evaluation": evaluated.evaluation, "baseline": evaluated.baseline, "anchor": evaluated.anchor}
    verdict = run_quietly("gate", **compared)
    if not verdict.passed:
        raise InputError(f"release {release}: {verdict.sentence}", "one that the gate passes", "run `make demo` again")
    return str(verdict.verdict)


def deployment(services: Services, store: Store, trial: Trial, verdict: str) -> Outcome:
    """Promote a release, harm it, and let `deploy_release` decide."""
    release = run_quietly("promote", verdict=verdict, again=True, why=LABEL).release
    if trial.harm:
        plant(services.home, release, trial.harm, trial.amount)
    wait_until_served(services, release, STARTS_S, "challenger")
    airflow = AirflowApi(services.running["airflow"].url, services.token())
    runs = follow(airflow, "deploy_release", {**TERMS, "release": release, "why": LABEL})
    heal(services.home)
    run = next(run["dag_run_id"] for run in runs if run["dag_id"] == "deploy_release")
    result = airflow.result("deploy_release", run, "judge_canary", "result")
    journal = Journal(store)
    canary = last_canary(journal)
    if canary is None or canary.challenger != release:
        raise TryAgain(f"no deployment of {release}", "one by evidence", f"read the note of {run} in Airflow")
    stages = stages_seen(journal, canary)
    began, ended = (datetime.fromisoformat(entry.at) for entry in (canary.begun, journal.entries[canary.last]))
    report = load_exactly(store, "report", result["report"])
    return Outcome(
        trial,
        str(result.get("outcome", "")),
        str(result.get("sentence", "")),
        (ended - began).total_seconds(),
        sum(stage.challenger for stage in stages if not stage.share),
        sum(stage.challenger for stage in stages if stage.share),
        f"file://{save_report(services.home, report)}",
    )


def end_what_runs(services: Services, store: Store, champion: str) -> None:
    """End what this call, or an earlier one that was interrupted, has left: dag runs, a deployment, a champion of its own."""
    AirflowApi(services.running["airflow"].url, services.token()).end_dag_runs("deploy_release", LABEL)
    if canary_of(Journal(store)):
        run_quietly("split", share=0, why=f"{LABEL} was ended")
    if Journal(store).routing.champion != champion:
        run_quietly("rollback", to=champion, why=f"{LABEL} is over")


def canary() -> int:
    """Deploy a release with each harm and without one, go back to the champion, and print a line for each; 0: all as planned.

    Raises:
        StepError: there is no champion, a service or a step failed.
    """
    started = time.monotonic()
    services = DemoServices()
    store = open_store(services.settings)
    champion = champion_of(store)
    Services(services.settings).up(report=lambda _: None)
    services.up(report=lambda _: None)
    os.environ.update(services.environment())
    AirflowApi(services.running["airflow"].url, services.token()).wait_for_dags(["deploy_release", "rollback_release"])
    print("1. A release that ranks as the champion does; the gate passes it", flush=True)
    verdict = release_like(champion)
    try:
        print("2. The server starts again, as one in which a release can be harmed, and counts in minutes of a second")
        services.stop("server")
        services.up(report=lambda _: None)
        wait_until_served(services, champion.id, STARTS_S)
        end_what_runs(services, store, champion.id)
        told = deployments(services, store, champion, verdict)
    finally:
        heal(services.home)
        try:
            end_what_runs(services, store, champion.id)
        finally:
            services.stop("server")
            Services(services.settings).up(report=lambda _: None)
    print("\nWhat was planted, and what was decided; the searches are replayed, the clicks simulated:")
    for outcome in told:
        print(
            f"\n{outcome.line}\n  planted   {outcome.trial.told}\n  because   {outcome.sentence}\n  report    {outcome.report}"
        )
    ended = {outcome.trial.name: outcome.outcome for outcome in told}
    wrong = [trial.name for trial in TRIALS if ended.get(trial.name) != trial.ends]
    print(f"\nDone in {time.monotonic() - started:.0f} s; {champion_of(store).id} serves. {_judged(wrong)}")
    return int(bool(wrong))


def _judged(wrong: list[str]) -> str:
    return f"NOT decided as it should be: {', '.join(wrong)}" if wrong else "Three harms were rolled back, one release passed."


def deployments(services: Services, store: Store, champion: Artifact, verdict: str) -> list[Outcome]:
    """Deploy each trial while the clients search, until one passes: the last, or one whose harm was not seen."""
    topics = judged_topics(load_exactly(store, "corpus", champion.inputs["corpus"]), "test", "exclude")
    crowd = Crowd(services.running["server"].url, services.key, topics)
    link = request(services, "POST", "/v1/signin-links").json()["url"]
    print(f"  search    {link}  (opens once; its head says which release serves, and what share the challenger has)")
    print(f"  airflow   {services.running['airflow'].url}/dags/deploy_release  (admin, password in {services.password_file})")
    told = []
    with crowd.open():
        for number, trial in enumerate(TRIALS, 3):
            print(f"{number}. {trial.name}: {trial.told}", flush=True)
            told.append(deployment(services, store, trial, verdict))
            print(f"  {told[-1].line}", flush=True)
            if told[-1].outcome == "passed":  # it is the champion: there is nothing to compare the next with
                break
    return told


if __name__ == "__main__":
    with told_errors():
        sys.exit(canary())
