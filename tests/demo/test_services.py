"""The services of one machine: their ports, their secrets, and that nothing of them stays."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import httpx
import psutil
import pytest

from demo.services import Service, Services, _free_port, _stop_group, _without_log_servers, main
from pipelines.access.keys import KeyLog, find
from pipelines.errors import InputError
from pipelines.store.objects import open_store
from tests.conftest import PROJECT
from tests.services import prometheus_here


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_was_asked_for_and_is_taken(taken, home):
    variables = {**os.environ, "SERVER_PORT": str(taken)}
    command = [sys.executable, "-m", "demo.services", "up"]
    answer = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert answer.stderr == (
        f"error: given port {taken} for server, which is taken; expected a free port; "
        "next: set SERVER_PORT to another, or leave it out\n"
    )
    assert not (home / "services.json").exists()


@pytest.mark.parametrize("port", ["zero", "0", "65536", "-1"])
def test_a_port_that_is_none(monkeypatch, port):
    monkeypatch.setenv("MLFLOW_PORT", port)
    with pytest.raises(InputError, match="from 1 to 65535"):
        _free_port("mlflow")


def test_another_port_when_the_usual_one_is_taken(monkeypatch, taken):
    monkeypatch.setattr("demo.services.PORTS", {"server": taken})
    assert _free_port("server") != taken


def test_secrets_are_for_this_account_alone(home):
    path = Services().password_file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Services().password_file.read_text() == path.read_text()


def test_a_service_that_there_is_not(home):
    command = [sys.executable, "-m", "demo.services", "up", "grafana"]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert "given service 'grafana'; expected some of airflow, mlflow, server, prometheus; next: name these" in answer.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "given command ''; expected up or down"),
        (("prometheus",), "given command 'prometheus'; expected up or down"),
        (("--help",), "given command '--help'; expected up or down"),
        (("down", "server"), "given down with service 'server'; expected down alone, which stops all of them"),
    ],
)
def test_a_command_that_there_is_not_starts_and_stops_nothing(home, monkeypatch, words, message):
    for name in ("up", "down"):
        monkeypatch.setattr(Services, name, lambda *_, **__: pytest.fail("it was run"))
    with pytest.raises(InputError, match=re.escape(message)):
        main(*words)
    assert not home.exists()


def test_a_service_that_is_named_twice_starts_once(home, monkeypatch):
    started = []

    def start(services, name):
        services.running[name] = Service(0, 0.0, services.urls[name], "")
        started.append(name)

    monkeypatch.setattr(Services, "_start", start)
    monkeypatch.setattr(Services, "_wait", lambda *_: None)
    main("up", "mlflow", "server", "mlflow")
    assert started == ["mlflow", "server"]


def test_prometheus_alone_reads_the_server_with_a_key_that_may_read_metrics(home):
    prometheus_here()
    services = Services()
    try:
        (service,) = services.up(lambda _: None, ["prometheus"]).values()
        path = home / "prometheus/metrics.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = find(KeyLog(open_store()).keys, path.read_text())
        assert key is not None
        assert key.scopes == {"metrics"}
        until = time.monotonic() + 60
        while not (targets := httpx.get(f"{service.url}/api/v1/targets").json()["data"]["activeTargets"]):
            assert time.monotonic() < until
            time.sleep(0.2)
        assert [target["labels"]["instance"] for target in targets] == ["127.0.0.1:8089"]
        assert json.loads((home / "prometheus/airflow.json").read_text()) == [], "no Airflow was started"
        services.urls["airflow"] = "http://127.0.0.1:8080"
        services._write_targets()
        assert json.loads((home / "prometheus/airflow.json").read_text()) == [{"targets": ["127.0.0.1:8080"]}]
        services.up(lambda _: None, ["prometheus"])
        assert len(KeyLog(open_store()).keys) == 1, "a key that is valid is kept"
    finally:
        services.down(lambda _: None)
    assert not service.process


def test_without_a_prometheus_it_is_said_what_to_do(home, monkeypatch, tmp_path):
    monkeypatch.setattr("demo.services.PROJECT", tmp_path)
    for tool in ("dirname", "mkdir", "mktemp", "rm", "sh"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"given no prometheus on PATH, and no apt-get; expected .*; next: install Prometheus"):
        Services().up(lambda _: None, ["prometheus"])
    assert not (home / "services.json").exists()


def test_stopping_leaves_no_child():
    script = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    leader = psutil.Process(process.pid)
    while not (children := leader.children()):
        pass
    _stop_group(Service(process.pid, leader.create_time(), "", ""))
    process.wait(10)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_a_number_that_another_process_has_by_now_is_left_alone():
    assert Service(os.getpid(), 1.0, "", "").process is None
    _stop_group(Service(os.getpid(), 1.0, "", ""))


def test_down_with_nothing_running(home):
    lines: list[str] = []
    Services().down(lines.append)
    assert lines == [f"  nothing was running in {home}"]
    assert not home.exists()


def test_every_service_is_told_of_the_others_before_any_starts(home):
    services = Services()
    assert services._assign_urls() == ["airflow", "mlflow", "server"]
    variables = services.environment()
    assert variables["RATCHET_MLFLOW_URI"] == services.urls["mlflow"] != ""
    assert variables["RATCHET_SERVER_URL"] == services.urls["server"] != ""


def test_a_shell_gets_the_environment_as_it_is_whatever_is_in_a_name(tmp_path, monkeypatch):
    home = tmp_path / "it's $HOME; `echo` no"
    monkeypatch.setenv("RATCHET_HOME", str(home))
    services = Services()
    services._write_environment()
    script = f'{services.shell}; printf "%s\\n" "$RATCHET_HOME" "$PYTHONPATH"; command -v python'
    answer = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [str(home), str(PROJECT), str(Path(sys.executable).parent / "python")]
    assert answer.stderr == ""


def test_of_two_commands_at_once_the_second_waits_and_finds_what_the_first_started(home, monkeypatch):
    """With one quick process in place of the three services."""
    started = []

    def start(services, name):
        time.sleep(0.5)
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        started.append(process)
        born = psutil.Process(process.pid).create_time()
        services.running[name] = Service(process.pid, born, services.urls[name], "")
        services.file.write_text(json.dumps({name: asdict(service) for name, service in services.running.items()}))

    monkeypatch.setattr(Services, "_start", start)
    monkeypatch.setattr(Services, "_wait", lambda *_: None)
    lines: list[str] = []
    both = [Services(), Services()]  # both have seen that nothing runs
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda services: services.up(lines.append), both)
    try:
        assert len(started) == 3
        assert first == second
        assert [line for line in lines if "waiting for another command" in line] != []
    finally:
        Services().down(lines.append)
    assert [process.wait(10) for process in started] != []


def test_airflows_parts_start_without_servers_of_their_logs(tmp_path, monkeypatch):
    """Theirs would listen on all addresses. `echo` stands for Python: what would be run is shown."""
    monkeypatch.setattr(sys, "executable", "/bin/echo")
    command = _without_log_servers(tmp_path / "bin") / "airflow"
    shown = {
        part: subprocess.run([command, part, "--pid", "x y"], capture_output=True, text=True, check=True).stdout.strip()
        for part in ("scheduler", "triggerer", "api-server", "dag-processor")
    }
    for part, line in shown.items():
        assert line == f"-m airflow {part} --pid x y" + (" --skip-serve-logs" if part in ("scheduler", "triggerer") else "")
    assert stat.S_IMODE(command.stat().st_mode) == 0o700
