"""The health check that images without curl use."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

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


def ends(*arguments):
    """The exit code, of the file as the images run it."""
    command = [sys.executable, str(PROJECT / "images/health.py"), *arguments]
    return subprocess.run(command, check=False, timeout=20).returncode


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("/healthz", 0),
        ("/broken", 1),
        ("/monitor scheduler", 0),
        ("/monitor triggerer", 1),
        ("/monitor other", 1),
        ("/monitor missing", 1),
        ("/healthz scheduler", 1),
    ],
)
def test_health(url, asked, code):
    assert ends(*f"{url}{asked}".split()) == code


def test_nobody_there():
    assert ends("http://127.0.0.1:1/healthz") == 1
