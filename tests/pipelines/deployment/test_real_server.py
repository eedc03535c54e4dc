"""deploy and rollback against the search server itself."""

import json
import subprocess

import pytest

from pipelines.settings import environment
from tests import warm
from tests.conftest import call


@pytest.fixture
def server(releases, monkeypatch, tmp_path):
    changes = {"RATCHET_SERVER_PORT": "0", "RATCHET_SERVER_KEY": "k" * 32}
    with (tmp_path / "server.log").open("wb") as log:
        child = subprocess.Popen(
            warm.command("-m", "images.serve"), env=environment(changes), stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        line = child.stdout.readline()
        assert line, (tmp_path / "server.log").read_text()[-3000:]
        monkeypatch.setenv("RATCHET_SERVER_URL", json.loads(line)["url"])
        yield
    finally:
        child.terminate()
        child.wait(20)


def test_the_server_follows_deployments_and_rollbacks(releases, server):
    from pipelines.deployment.readiness import readiness
    from pipelines.settings import settings

    releases.deployed(releases.a)
    releases.promoted(releases.b)
    result = call("deploy", wait_s=60)
    assert result.outcome == "deployed"
    assert readiness(settings().server_url).champion == releases.b
    back = call("rollback", why="a drill", wait_s=60)
    assert (back.release, back.left) == (releases.a, releases.b)
    assert back.waited_s < 5  # it was kept warm
    assert readiness(settings().server_url).champion == releases.a
