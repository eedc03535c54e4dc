"""The health check that images without curl use."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from images.health import healthy
from tests.conftest import PROJECT

ANSWERS = {
    "/healthz": (200, "ok"),
    "/broken": (503, "{}"),
    "/monitor": (200, json.dumps({"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}, "other": None})),
}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url():
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "well"),
    [
        ("/healthz", True),
        ("/broken", False),
        ("/monitor scheduler", True),
        ("/monitor triggerer", False),
        ("/monitor other", False),
        ("/monitor missing", False),
        ("/healthz scheduler", False),
    ],
)
def test_health(url, arguments, well):
    assert healthy(*f"{url}{arguments}".split()) is well


def test_nobody_there():
    assert not healthy("http://127.0.0.1:1/healthz")


@pytest.mark.parametrize(("component", "code"), [("scheduler", 0), ("triggerer", 1)])
def test_the_exit_code_tells_it(url, component, code):
    command = [sys.executable, str(PROJECT / "images/health.py"), f"{url}/monitor", component]
    assert subprocess.run(command, check=False, timeout=20).returncode == code
