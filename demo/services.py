"""Airflow, MLflow and the search server as background processes of this machine: `python -m demo.services up|down`.

`up NAME …` starts these alone; `prometheus`, which reads the server's and Airflow's metrics, starts only by its name.

Ports: the default one if it is free, otherwise any; AIRFLOW_PORT and so on require a certain one.
"""

import fcntl
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from pipelines.access.keys import KeyLog, find
from pipelines.errors import InputError, StepError, TryAgain
from pipelines.settings import PROJECT, Settings, settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

HOST = "127.0.0.1"
PORTS = {"airflow": 8080, "mlflow": 5000, "server": 8089, "prometheus": 9090}
PLATFORM = ("airflow", "mlflow", "server")
CHECKS = {
    "server": "/healthz",
    "mlflow": "/health",
    "airflow": "/api/v2/monitor/health",
    "prometheus": "/-/ready",
}
OBSERVE = PROJECT / "images" / "observe"
KEY_DAYS = 400
HEALTH_TIMEOUT_S = 180


@dataclass(frozen=True)
class Service:
    """A background process: pid of its group's leader, start time in seconds since 1970, URL and log file."""

    pid: int
    born: float
    url: str
    log: str

    @property
    def process(self) -> psutil.Process | None:
        """The running process, None if it has ended; a start time other than `born` means that the pid was reused."""
        try:
            process = psutil.Process(self.pid)
            alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.born) < 1
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


class Services:
    """The services of one home; `home/services.json` keeps their pids between commands."""

    def __init__(self, config: Settings | None = None) -> None:
        self.settings = config or settings()
        self.home = self.settings.home.absolute()
        self.file = self.home / "services.json"
        self._read_file()

    def _read_file(self) -> None:
        recorded = json.loads(self.file.read_text()) if self.file.exists() else {}
        services = {name: Service(**fields) for name, fields in recorded.items()}
        self.running = {name: service for name, service in services.items() if service.process}
        self.urls = {name: service.url for name, service in services.items()}

    @contextmanager
    def _locked(self, report: Callable[[str], None]) -> Iterator[None]:
        """Let one command at a time start or stop the services of a home; the next one reads what it left."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "services.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(f"  waiting for another command that starts or stops the services of {self.home}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._read_file()
            yield

    def up(self, report: Callable[[str], None] = print, names: Sequence[str] = PLATFORM) -> dict[str, Service]:
        """Start those of the named services that do not run and wait until all of them are healthy.

        Raises:
            InputError: a required port is taken, or there is no Prometheus to start.
            TryAgain: a service is not healthy in time; the message names its log.
        """
        with self._locked(report):
            started = time.monotonic()
            for name in self._assign_urls(names):
                self._start(name)
            if "prometheus" in self.running:
                self._write_targets()
            for name in [name for name in CHECKS if name in names]:
                self._wait(name, CHECKS[name])
                service = self.running[name]
                report(f"  {name:<8} {service.url}  ({time.monotonic() - started:.0f} s)  log {service.log}")
            self._write_environment()
        return self.running

    def down(self, report: Callable[[str], None] = print) -> None:
        """Stop every service with all its children: SIGTERM, and SIGKILL after 15 s."""
        if self.home.is_dir():
            with self._locked(report):
                for name, service in self.running.items():
                    report(f"  stopping {name}, process {service.pid}")
                    _stop_group(service)
                self.file.unlink(missing_ok=True)
        if not self.running:
            report(f"  nothing was running in {self.home}")

    def stop(self, name: str) -> None:
        """Stop one service with all its children; `up` starts it again, at the address that it had if that is free."""
        with self._locked(print):
            if name in self.running:
                _stop_group(self.running[name])

    def _assign_urls(self, names: Sequence[str] = PLATFORM) -> list[str]:
        """Set the URL of each of these that must start, before any starts, since each gets the URLs of the others; their names.

        Airflow got the URLs when it started, so it is restarted if one of them has changed.
        """
        before = dict(self.urls)
        missing = [name for name in names if name not in self.running]
        self.urls |= {name: f"http://{HOST}:{_free_port(name, self.urls.get(name, ''))}" for name in missing}
        moved = any(self.urls[name] != before.get(name) for name in missing if name in PLATFORM)
        if moved and "airflow" in self.running:
            _stop_group(self.running.pop("airflow"))
            missing.append("airflow")
        return missing

    def environment(self) -> dict[str, str]:
        """The variables that every part of the platform needs on this machine."""
        return {
            "RATCHET_HOME": str(self.home),
            "RATCHET_STORE": self.settings.store_uri,
            "RATCHET_MLFLOW_URI": self.urls.get("mlflow", ""),
            "RATCHET_SERVER_URL": self.urls.get("server", ""),
            "RATCHET_SERVER_KEY_FILE": str(self._secret("server.key")),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # without jobs MLflow needs six processes fewer
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
        }

    @property
    def shell(self) -> str:
        """The shell command that sets the environment for `python -m pipelines` with this home and these services."""
        return f". {shlex.quote(str(self.home / 'services.env'))}"

    def token(self) -> str:
        """A bearer token of Airflow's API for the account `admin`."""
        password = json.loads(self._secret("airflow.json").read_text())["admin"]
        url = f"{self.running['airflow'].url}/auth/token"
        answer = httpx.post(url, json={"username": "admin", "password": password}, timeout=30).raise_for_status()
        return str(answer.json()["access_token"])

    @property
    def key(self) -> str:
        """The search server's key."""
        return Path(self.environment()["RATCHET_SERVER_KEY_FILE"]).read_text()

    @property
    def password_file(self) -> Path:
        """The file with Airflow's password of `admin`."""
        return self._secret("airflow.json")

    def _start(self, name: str) -> None:
        port = urlsplit(self.urls[name]).port
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command, extra = getattr(self, f"_{name}")(port)
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                cwd=PROJECT,
                env={**os.environ, **self.environment(), **extra},
            )
        born = psutil.Process(process.pid).create_time()
        self.running[name] = Service(process.pid, born, self.urls[name], str(log))
        self.file.write_text(json.dumps({name: asdict(service) for name, service in self.running.items()}, indent=1))

    def _server(self, port: int | None) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-m", "images.serve"], {"RATCHET_SERVER_PORT": str(port), "RATCHET_SERVER_HOST": HOST}

    def _mlflow(self, port: int | None) -> tuple[list[str], dict[str, str]]:
        folder = self.home / "mlflow"
        folder.mkdir(exist_ok=True)
        store = [
            "--backend-store-uri",
            f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination",
            f"file://{folder}/artifacts",
        ]
        return [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *store], {}

    def _airflow(self, port: int | None) -> tuple[list[str], dict[str, str]]:
        folder = self.home / "airflow"
        folder.mkdir(exist_ok=True)
        url = f"http://{HOST}:{port}"
        options = {
            "CORE__DAGS_FOLDER": PROJECT / "dags",
            "CORE__PLUGINS_FOLDER": PROJECT / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__PARALLELISM": 4,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self._secret("airflow.json"),
            "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "API__HOST": HOST,
            "API__PORT": port,
            "API__BASE_URL": url,
            "API__WORKERS": 1,
            "API__SECRET_KEY": self._secret("airflow.secret").read_text(),
            "API_AUTH__JWT_SECRET": self._secret("airflow.jwt").read_text(),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 120,  # changed files are seen at once; all, each 30 s, fill a core
        }
        variables = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
        # A kubeconfig in Airflow's environment breaks deferrable pods: only the connection may name it.
        return [sys.executable, "-m", "airflow", "standalone"], {
            **variables,
            "AIRFLOW_HOME": str(folder),
            "PATH": f"{_without_log_servers(folder / 'bin')}:{self.environment()['PATH']}",
            "KUBECONFIG": "",
            "PYTHONWARNINGS": "ignore",
        }

    def _prometheus(self, port: int | None) -> tuple[list[str], dict[str, str]]:
        """Prometheus with the project's settings and rules, from PATH or Debian's package, with a key of its own."""
        answer = subprocess.run(
            [str(OBSERVE / "install.sh"), str(PROJECT / "build" / "prometheus")], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            given, _, action = answer.stderr.strip().removeprefix("given ").partition("; next: ")
            raise InputError(given.partition("; ")[0], "Debian's package prometheus", action or "install Prometheus")
        folder = self._prometheus_folder
        for name in ("prometheus.yaml", "rules.yaml"):
            (folder / name).write_bytes((OBSERVE / name).read_bytes())
        self._write_targets()
        self._write_metrics_key()
        program = f"{answer.stdout.strip()}/prometheus"
        options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
        return [program, *options, f"--web.listen-address={HOST}:{port}"], {}

    @property
    def _prometheus_folder(self) -> Path:
        folder = self.home / "prometheus"
        folder.mkdir(exist_ok=True)
        return folder

    def _write_targets(self) -> None:
        """Where the server is, and Airflow if it was started; Prometheus sees a change of these files by itself."""
        server = self.urls.get("server") or self.settings.server_url or f"http://{HOST}:{PORTS['server']}"
        for file, url in (("targets.json", server), ("airflow.json", self.urls.get("airflow", ""))):
            targets = [{"targets": [urlsplit(url).netloc]}] if url else []
            (self._prometheus_folder / file).write_text(json.dumps(targets))

    def _write_metrics_key(self) -> None:
        """A key that may read metrics and nothing else, unless there is one that is valid."""
        keys = KeyLog(open_store(self.settings))
        path = self._prometheus_folder / "metrics.key"
        key = find(keys.keys, path.read_text()) if path.exists() else None
        if key is None or key.problem(time.time()):
            path.touch(mode=0o600)
            path.write_text(keys.make("prometheus", ("metrics",), KEY_DAYS, "monitoring of this machine")[1])

    def _secret(self, name: str) -> Path:
        """A file that only this account may read; created with a random value."""
        path = self.home / "secrets" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            value = secrets.token_urlsafe(24)
            path.touch(mode=0o600)
            path.write_text(json.dumps({"admin": value}) if name.endswith(".json") else value)
        return path

    def _wait(self, name: str, check: str) -> None:
        service = self.running[name]
        deadline = time.monotonic() + HEALTH_TIMEOUT_S
        while time.monotonic() < deadline and service.process:
            if is_healthy(service.url + check):
                return
            time.sleep(0.3)
        raise TryAgain(
            f"{name} that did not get healthy", f"{service.url}{check} to answer", f"read {service.log}, then `make down up`"
        )

    def _write_environment(self) -> None:
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items()]
        (self.home / "services.env").write_text("".join(lines))


def _without_log_servers(folder: Path) -> Path:
    """A folder with a command `airflow`, which standalone calls for its parts: without servers of their logs.

    These would listen on all addresses of this machine, which no setting changes. Here everybody reads the logs from the disk.
    """
    folder.mkdir(exist_ok=True)
    python = shlex.quote(sys.executable)
    lines = [
        "#!/bin/sh",
        'case "${1:-}" in scheduler | triggerer) set -- "$@" --skip-serve-logs ;; esac',
        f'exec {python} -m airflow "$@"',
    ]
    (folder / "airflow").write_text("\n".join(lines) + "\n")
    (folder / "airflow").chmod(0o700)
    return folder


def is_healthy(url: str) -> bool:
    """Whether the health check at `url` answers with success; for Airflow's monitor, whether its components are healthy."""
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return False
    if not answer.is_success:
        return False
    if "monitor" not in url:
        return True
    components: dict[str, Any] = answer.json()
    return all(components[component]["status"] == "healthy" for component in ("metadatabase", "scheduler", "dag_processor"))


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _free_port(name: str, before: str = "") -> int:
    """The required port, otherwise the service's last one, otherwise the default; if that is taken, any free one.

    Raises:
        InputError: the required port is invalid or taken.
    """
    required = os.environ.get(f"{name.upper()}_PORT", "")
    if required and not (required.isdecimal() and 0 < int(required) < 65536):
        raise InputError(f"{name.upper()}_PORT={required}", "a port number from 1 to 65535", "correct it, or leave it out")
    port = int(required or urlsplit(before).port or PORTS[name])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            if required:
                raise InputError(
                    f"port {port} for {name}, which is taken",
                    "a free port",
                    f"set {name.upper()}_PORT to another, or leave it out",
                ) from None
            return _any_port()
    return port


def _stop_group(service: Service) -> None:
    process = service.process
    if process is None:
        return
    family = [process, *process.children(recursive=True)]
    os.killpg(service.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=15)
    for survivor in alive:
        survivor.kill()
    psutil.wait_procs(alive, timeout=5)


def main(command: str = "", *names: str) -> None:
    """Run the command `up` or `down`; `up` prints where everything is.

    Raises:
        InputError: it is no such command, `down` gets names, or there is no service of a name.
    """
    if command not in ("up", "down"):
        raise InputError(f"command {command!r}", "up or down", "name one of them; services come after it")
    if command == "down" and names:
        raise InputError(f"down with service {names[0]!r}", "down alone, which stops all of them", "leave the names out")
    if unknown := sorted(set(names) - set(PORTS)):
        raise InputError(f"service {unknown[0]!r}", f"some of {', '.join(PORTS)}", "name these, or none for the platform")
    if command == "down":
        for home in (settings().home, *sorted((settings().home / "collections").glob("*"))):
            Services(settings().model_copy(update={"home": home})).down()
        return
    services = Services()
    Journal(open_store())
    services.up(names=tuple(dict.fromkeys(names)) or PLATFORM)
    if "airflow" in services.running:
        print(f"  Airflow's account is admin, its password is in {services.password_file}")
    print(f"  for the command line: {services.shell}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
