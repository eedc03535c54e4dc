"""`make bench`: the overhead of steps, DAG parsing, the chain and the server, as differences and ratios within one run."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import PROJECT
from tests.figures import write_figures

RUNS = 10
SEARCHES = 300
SEED = 0
GOALS = {
    "step_overhead_s": "≤ 1",
    "dagbag_parse_s": "≤ 2",
    "no_change_chain_s": "≤ 60",
    "search_p50_ratio": "≤ 1.5",
}
PARSE = """
import time, logging
logging.disable()
import airflow.sdk, airflow.providers.cncf.kubernetes.operators.pod
from airflow.dag_processing.dagbag import DagBag
started = time.perf_counter()
bag = DagBag({folder!r})
assert not bag.import_errors and len(bag.dags) >= 6, bag.import_errors
print("SECONDS", time.perf_counter() - started)
"""


def timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def step_overhead_s() -> float:
    """Seconds that StepOperator adds to the bare command line: difference of medians of alternating runs of one short step."""
    sys.path.insert(0, str(PROJECT / "plugins"))
    from tests.airflow_home import task_context  # isort: skip  # Airflow's home comes before Airflow
    from operators.step import StepOperator

    from pipelines.steps.look.history import history

    operator = StepOperator(step=history, task_id="history")
    command = [sys.executable, "-m", "pipelines", "history"]
    bare, operated = [], []
    with redirect_stdout(StringIO()):  # Airflow warns of an operator outside a task runner, and prints the step's log
        for _ in range(RUNS):
            bare.append(timed(lambda: subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)))
            operated.append(timed(lambda: operator.execute(task_context())))
    return statistics.median(operated) - statistics.median(bare)


def dagbag_parse_s() -> float:
    """Median seconds to parse the DAG folder in a fresh process, beyond the imports of Airflow's SDK."""
    code = PARSE.format(folder=str(PROJECT / "dags"))
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}"}
    seconds = []
    for _ in range(5):
        answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        seconds.append(float(answer.stdout.rpartition("SECONDS")[2]))
    return statistics.median(seconds)


def encode_docs_per_s() -> float:
    """Documents per second: the icons' labels by the encoder's ONNX fp32 variant, all cores; median of 3."""
    from pipelines.retrieval.release import load_release

    store = open_store()
    release = load_release(store, str(Journal(store).routing.champion))
    texts = [document.text for document in release.documents.values()]
    return len(texts) / statistics.median(timed(lambda: release.encoder.encode(texts, "document")) for _ in range(3))


def search_ratios() -> tuple[float, float]:
    """The server's latency over that of bare encode and FAISS calls, alternating, one query at a time: ratios of p50 and p99.

    Both sides encode with the server's number of threads; the client is the standard library's, which has the least overhead.
    """
    from images.serve.__main__ import THREADS_PER_SEARCH
    from pipelines.corpus.documents import queries
    from pipelines.retrieval.release import load_release
    from tests.images.serve.server import running_server

    store = open_store()
    release = load_release(store, str(Journal(store).routing.champion), THREADS_PER_SEARCH)
    texts = [query.text for query in queries(load_exactly(store, "corpus", release.card.corpus), "test")][:SEARCHES]
    bare, served = [], []
    with running_server(Path(os.environ["RATCHET_HOME"])) as server:
        server.wait(lambda status: status["ready"])
        connection = HTTPConnection(urlsplit(server.url).netloc)
        for text in texts[:20] + texts:
            bare.append(timed(lambda text=text: release.search([text], 10)))
            served.append(timed(lambda text=text: searched(connection, server.key, text)))
    return ratio(served[20:], bare[20:], 50), ratio(served[20:], bare[20:], 99)


def searched(connection: HTTPConnection, key: str, text: str) -> None:
    path = f"/v1/search?{urlencode({'q': text, 'k': 10})}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body


def ratio(above: list[float], below: list[float], percentile: int) -> float:
    cut = percentile - 1
    return statistics.quantiles(above, n=100)[cut] / statistics.quantiles(below, n=100)[cut]


def no_change_chain_s() -> float:
    """Seconds of the chain of DAGs in a real Airflow when nothing changed, from the trigger to the end of the last dag run."""
    from demo.__main__ import run_chain
    from demo.services import Services

    services = Services()
    try:
        services.up(told=lambda _: None)
        run_chain(services, {})
        return timed(lambda: run_chain(services, {}))
    finally:
        services.down(told=lambda _: None)


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="ratchet-bench-"))
    os.environ["RATCHET_HOME"] = str(home)
    try:
        subprocess.run([sys.executable, "-m", "pipelines.train"], cwd=PROJECT, check=True, stderr=subprocess.DEVNULL)
        p50, p99 = search_ratios()
        figures = {
            "step_overhead_s": step_overhead_s(),
            "dagbag_parse_s": dagbag_parse_s(),
            "encode_docs_per_s": encode_docs_per_s(),
            "search_p50_ratio": p50,
            "search_p99_ratio": p99,
            "no_change_chain_s": no_change_chain_s(),
        }
    finally:
        shutil.rmtree(home, ignore_errors=True)
    write_figures("bench/spine", figures, seed=SEED, runs=RUNS, goals=GOALS)


if __name__ == "__main__":
    main()
