"""A warm program is a program like any other: what it is given, what it says, and how it ends."""

import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

from tests import warm
from tests.conftest import PROJECT
from tests.images.serve.server import running_server

REFUSED = ("-m", "pipelines", "ingest", "--folder", "nowhere/é", "--text", "label")


def ended(command, folder, **variables):
    given = {**os.environ, "PYTHONPATH": str(PROJECT), **variables}
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_it_does_as_a_cold_one(tmp_path):
    cold = ended([sys.executable, *REFUSED], tmp_path)
    assert cold == ended(warm.command(*REFUSED), tmp_path)
    assert (cold[0], cold[1], cold[2].startswith("error: given ")) == (2, "", True)


def test_its_environment_and_folder_are_its_own_and_are_nobody_elses_after(tmp_path):
    listed = ended(warm.command("-m", "pipelines", "history"), tmp_path, RATCHET_STORE=f"file://{tmp_path}/store")
    assert json.loads(listed[1])["champion"] == ""
    other = ended(warm.command("-m", "pipelines", "history"), tmp_path, RATCHET_STORE="ftp://nowhere")
    assert (other[0], "ftp://nowhere" in other[2]) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_and_what_stands_for_it(tmp_path, number):
    with running_server(tmp_path) as server:
        assert "no champion" in server.ready()["problem"]
        server.process.send_signal(number)
        assert server.process.stdout.read() == "", "its own process has ended too: nobody holds its output"
        assert server.process.wait(10) == -number
        with pytest.raises(httpx.ConnectError):
            server.ready()
