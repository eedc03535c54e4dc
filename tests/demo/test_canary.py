"""What `make demo-canary` is made of: harms that are planted in the real server, and terms that a deployment takes."""

import json
import random

import pytest

from demo.canary import TERMS, TRIALS, Crowd, Outcome
from demo.planted import heal, plant
from demo.replay import clicks_of
from pipelines.evaluation.qrels import judged_topics
from pipelines.steps.deploy_release.judge_canary import JudgeCanaryParams, _terms
from pipelines.store.artifacts import load_exactly
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.services import free_ports


@pytest.fixture
def server(trained):
    route(trained.release)
    with running_server(trained.home, "demo.planted", RATCHET_SERVER_PORT=str(free_ports(1)[0])) as running:
        running.wait(lambda status: status["ready"])
        yield running


def shown(server):
    return [result["id"] for result in server.search("house", k=5).json()["results"]]


def test_a_harm_that_is_planted_begins_and_ends_while_the_server_runs(trained, server):
    right = shown(server)
    plant(trained.home, trained.release, "backwards")
    assert shown(server) == right[::-1]
    plant(trained.home, trained.release, "random")
    assert len(shown(server)) == 5
    assert shown(server) != shown(server)
    plant(trained.home, trained.release, "errors", 1.0)
    assert server.search("house").status_code == 500
    plant(trained.home, "another", "errors", 1.0)
    assert shown(server) == right
    heal(trained.home)
    assert shown(server) == right


def test_a_server_that_a_harm_ends_is_started_again_and_searched_on(trained, server):
    topics = judged_topics(load_exactly(trained.store, "corpus", trained.corpus), "test", "exclude")
    plant(trained.home, trained.release, "crash", 1.0)
    with Crowd(server.url, server.key, topics).open():
        again = json.loads(server.process.stdout.readline())
        heal(trained.home)
    assert again["url"] == server.url
    server.wait(lambda status: status["ready"])
    assert len(shown(server)) == 5


def test_the_terms_are_those_of_a_deployment():
    terms = _terms(JudgeCanaryParams(**{name: value for name, value in TERMS.items() if name != "mode"}))
    assert (terms.plan.shares, terms.plan.searches) == ((0.1, 0.5), (60, 2000))
    assert [trial.ends for trial in TRIALS] == ["rolled back"] * 3 + ["passed"]


def test_an_outcome_is_one_line():
    line = Outcome(TRIALS[0], "rolled back", "p50: worse", 41.2, 300, 0, "file:///report.html").line
    assert line == "slow          ROLLED BACK  after  41 s, 300 searches ranked unseen and 0 of users"


def test_what_stands_in_reverse_order_is_clicked_less():
    relevant, results = {"a": 1}, [{"id": name, "position": number} for number, name in enumerate("abcdefghij", 1)]
    backwards = [{"id": result["id"], "position": 11 - result["position"]} for result in results]
    clicked = []
    for shown_results in (results, backwards):
        drawn = random.Random(1)
        answer = {"request_id": "r", "results": shown_results}
        clicked.append(sum(1 for _ in range(500) for click in clicks_of(answer, relevant, drawn) if click["document"] == "a"))
    assert clicked[1] < 0.5 * clicked[0]
