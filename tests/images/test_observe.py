"""Alert rules by Prometheus' own checker, dashboards by their program, both with a real Prometheus that scrapes a server."""

import json
import shutil
import subprocess
import time

import httpx
import pytest
import yaml

from images.observe.dashboards import FILES, FOLDER
from pipelines.access.keys import KeyLog
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import PROJECT
from tests.images.serve.conftest import _small_once, route, small
from tests.images.serve.server import running_server
from tests.services import prometheus, prometheus_here

__all__ = ["_small_once", "small"]
OBSERVE = PROJECT / "images/observe"
RULES = [rule for group in yaml.safe_load((OBSERVE / "rules.yaml").read_text())["groups"] for rule in group["rules"]]
PANELS = [("search.json", panel) for panel in json.loads(FILES["search.json"])["panels"]]
"""Of the search servers; those of Airflow and the steps are answered in tests/dags/test_metrics.py."""


def promtool(*arguments, folder=OBSERVE):
    command = [str(prometheus_here() / "promtool"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_rules_are_valid_and_fire_when_they_should():
    assert promtool("check", "rules", "rules.yaml").returncode == 0
    answer = promtool("test", "rules", "rules-test.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_is_seen_to_fire(rule, tmp_path):
    """Without the rule its test fails: so there is one, and it tests this rule."""
    text = (OBSERVE / "rules.yaml").read_text().replace(rule["expr"], "vector(0) > 1")
    (tmp_path / "rules.yaml").write_text(text)
    shutil.copy(OBSERVE / "rules-test.yaml", tmp_path)
    assert rule["alert"] in promtool("test", "rules", "rules-test.yaml", folder=tmp_path).stderr
    assert "; next: " in rule["annotations"]["summary"]


def test_settings_are_valid(tmp_path):
    for name in ("prometheus.yaml", "rules.yaml"):
        shutil.copy(OBSERVE / name, tmp_path)
    for name in ("targets.json", "airflow.json"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "metrics.key").write_text("a key")
    answer = promtool("check", "config", "prometheus.yaml", folder=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_dashboards_are_those_of_the_program():
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == FILES


def results(url, query):
    return httpx.get(f"{url}/api/v1/query", params={"query": query}).raise_for_status().json()["data"]["result"]


def fired(url):
    """The alerts that are pending or firing."""
    alerts = httpx.get(f"{url}/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts}


def until(holds, within_s=60.0):
    deadline = time.monotonic() + within_s
    while not (held := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return held


def test_prometheus_reads_a_server_and_answers_each_panel(trained, small, tmp_path):
    route(trained.release, small, "promote")
    Journal(open_store()).append("stage", small, "for a test", Routing(champion=trained.release, challenger=small, shadow=1.0))
    _, key = KeyLog(open_store()).make("prometheus", ("metrics",), 1, "a test")
    with running_server(trained.home) as server, prometheus(tmp_path / "prometheus", [server.url], key) as url:
        server.wait(lambda status: status["challenger"] and status["shadow"])

        def unanswered():
            found = server.search("moon").json()
            click = {"request_id": found["request_id"], "document": found["results"][0]["id"], "position": 1}
            server.client.post("/v1/clicks", json=click)
            queries = [(panel["title"], target["expr"]) for _, panel in PANELS for target in panel["targets"]]
            return [title for title, query in queries if not results(url, query)]

        until(lambda: not unanswered())
        (up,) = results(url, 'up{job="ratchet"}')
        assert up["value"][1] == "1"
        clicked = "max(ratchet_searches_clicked_total / ratchet_searches_total)"
        assert float(results(url, clicked)[0]["value"][1]) == 1
        groups = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["name"]: rule["health"] for rule in rules} == {rule["alert"]: "ok" for rule in RULES}
        server.process.terminate()
        until(lambda: "ServerDown" in fired(url))
