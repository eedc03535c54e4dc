"""Imports what the project's programs import, then forks a process for each that a client asks for.

`python -m tests.warm_server DOOR LEADER` makes the socket DOOR when it is ready, and ends when the process LEADER has ended.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.contract import load_step, step_names
from pipelines.features.importing import import_feast
from pipelines.settings import bound_evidently, bound_mlflow

PROGRAMS = ("images.serve.app", "images.serve.commands", "images.serve.watcher", "pipelines.score", "pipelines.train")
LIBRARIES = (
    "Stemmer", "accelerate", "bm25s", "datasets", "duckdb", "faiss", "great_expectations", "httpx", "ir_measures",
    "matplotlib.figure", "mlflow.pyfunc", "onnx", "onnxscript", "openlineage.client", "pandas", "presidio_analyzer",
    "presidio_anonymizer", "py3langid.langid", "pyarrow.parquet", "redis", "scipy.stats", "sentence_transformers",
    "sklearn.linear_model", "tea_tasting", "torch", "transformers.models.bert.modeling_bert", "uvicorn",
)  # fmt: skip
"""What steps and the server import inside functions and what takes its time; ONNX Runtime and OpenVINO start threads."""
FEAST = "feast"
"""Imported last: it has Prometheus' client, which the server needs otherwise, count in files."""
SURVIVES = {"jemalloc_bg_thd"}
"""The thread of Arrow's memory, which knows of forks."""


def main(door: str, leader: int) -> None:
    """Serve until the leader has ended."""
    elsewhere = [path for path in sys.path if path not in ("", str(Path.cwd()), *os.environ["PYTHONPATH"].split(os.pathsep))]
    import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who stands by
    over = os.pidfd_open(leader)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{door}.new")
        listening.listen(64)
        Path(f"{door}.new").rename(door)
        while over not in select.select([listening, over], [], [])[0]:
            link, _ = listening.accept()
            if os.fork() == 0:
                stand_by(link, elsewhere)
            link.close()


def import_all() -> None:
    """Import everything, and see that no thread was started: a fork has none but its own."""
    me = str(os.getpid())
    for bound in (bound_evidently, bound_mlflow):
        bound()
    for name in step_names():
        load_step(name)
    for name in (*PROGRAMS, *LIBRARIES, FEAST):
        begun = time.monotonic()
        import_feast() if name == FEAST else importlib.import_module(name)
        print(f"{time.monotonic() - begun:6.2f} s  {name}", flush=True)
        started = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm") if path.parent.name != me}
        assert started <= SURVIVES, f"{name} started {started}"
    gc.collect()
    gc.freeze()


def stand_by(link: socket.socket, elsewhere: Sequence[str]) -> None:
    """Start the program, pass signals on, and tell how it ended; only the program returns from here, by its exit."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, *_ = socket.recv_fds(link, 4, 3)
    arguments, environment, folder = json.loads(link.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    program = os.fork()
    if program == 0:
        link.close()
        run(arguments, environment, folder, streams, elsewhere)
    with contextlib.suppress(OSError):  # the program may have done so itself, or may have ended
        os.setpgid(program, program)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(program)
    while ended not in select.select([ended, link], [], [])[0]:
        number = link.recv(1) or bytes([signal.SIGKILL])  # the client was killed
        os.killpg(program, number[0])
        if number[0] == signal.SIGKILL:
            break
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    with contextlib.suppress(OSError):
        link.send(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def run(
    arguments: list[str], environment: dict[str, str], folder: str, streams: Sequence[int], elsewhere: Sequence[str]
) -> None:
    """Become the program: `-m MODULE ARGUMENT…`."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.path[:] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *elsewhere]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which who runs the tests in the background ignores
    option, module, *rest = arguments
    assert option == "-m", f"given {arguments}; expected -m MODULE; next: start sys.executable for anything else"
    sys.argv[:] = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code: object = None
    except SystemExit as exit_:
        code = exit_.code
    end(code)


def end(code: object) -> None:
    """End as Python does after `sys.exit(code)`, but leave the thousands of imported objects to the kernel."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
