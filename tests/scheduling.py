"""Which tests run together, in which order, which are left out of the inner loop, and what a run's time went into.

A pytest plugin, named in pyproject.toml. Tests that share something costly are one group, which one process runs.
"""

import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[1]
GROUPS = {
    "tests/dags": "airflow",
    "tests/plugins": "airflow",
    "tests/golden": "airflow",
    "tests/cluster": "cluster",
    "tests/images/serve/test_following.py": "clock",
    "tests/pipelines/deployment/test_silence.py": "clock",
    "tests/pipelines/deployment/test_real_server.py": "clock",
}
"""Tests that one process runs, one after another: they share one Airflow or one cluster, or they measure time."""
FIRST = (
    "tests/dags", "tests/plugins", "tests/golden", "tests/test_docs.py", "tests/cluster", "tests/test_model_ci.py",
    "tests/pipelines/projections", "tests/pipelines/models",
)  # fmt: skip
"""What takes longest begins first, so that no process is left with it at the end."""
SERVICES = {
    "_trained_once", "airflow_database", "bag", "browser", "copy", "made", "ml_100k", "mlflow_uri", "releases", "run_dag", "s3",
    "sandbox_for", "server", "shared", "small", "tracking",
}  # fmt: skip
"""Fixtures that start a service or train an encoder: tests that need one are left out of `make test-fast`."""
LONG = (
    "pipelines/quality/personal.py",
    "tests/cluster",
    "tests/dags",
    "tests/demo",
    "tests/golden/test_store.py",
    "tests/images/serve",
    "tests/images/test_secrets.py",
    "tests/pipelines/cli/test_command_line.py",
    "tests/pipelines/cli/test_own_data.py",
    "tests/pipelines/cli/test_train.py",
    "tests/pipelines/collections/test_next_item.py::test_memory",
    "tests/pipelines/collections/test_readers.py::test_a_line_far_longer",
    "tests/pipelines/collections/test_readers.py::test_memory",
    "tests/pipelines/collections/test_readers.py::test_ten_million",
    "tests/pipelines/corpus/test_diff.py",
    "tests/pipelines/drift/test_snapshots.py",
    "tests/pipelines/embeddings/test_checkpoints.py",
    "tests/pipelines/embeddings/test_refresh.py",
    "tests/pipelines/erasure",
    "tests/pipelines/evaluation/test_evaluate.py",
    "tests/pipelines/evaluation/test_reranked_stages.py",
    "tests/pipelines/evaluation/test_rows.py",
    "tests/pipelines/experiments/test_analyze.py",
    "tests/pipelines/experiments/test_bad_logs.py",
    "tests/pipelines/experiments/test_own_log.py",
    "tests/pipelines/features/test_add_a_feature.py",
    "tests/pipelines/features/test_importing.py",
    "tests/pipelines/features/test_online.py",
    "tests/pipelines/features/test_places.py",
    "tests/pipelines/features/test_served.py",
    "tests/pipelines/features/test_views.py",
    "tests/pipelines/gates/test_evidence_rules.py",
    "tests/pipelines/models/test_encoders.py",
    "tests/pipelines/models/test_folders.py",
    "tests/pipelines/models/test_rerankers.py",
    "tests/pipelines/models/training",
    "tests/pipelines/projections/test_export_dvc.py",
    "tests/pipelines/projections/test_feast.py",
    "tests/pipelines/projections/test_mlflow.py",
    "tests/pipelines/quality",
    "tests/pipelines/reports/test_frame.py::test_no_report_is_larger",
    "tests/pipelines/retrieval/test_among.py",
    "tests/pipelines/retrieval/test_blend.py",
    "tests/pipelines/retrieval/test_recommendation_stages.py",
    "tests/pipelines/retrieval/test_rerank.py",
    "tests/pipelines/retrieval/test_scores.py",
    "tests/pipelines/retrieval/test_stages.py",
    "tests/pipelines/store/test_lineage.py",
    "tests/plugins/ui",
    "tests/test_docs.py::test_commands",
    "tests/test_figures.py::test_the_bench",
    "tests/test_gpu_plan.py",
    "tests/test_warm.py",
)
"""Tests that take their time without such a fixture: they start programs, measure memory, make models or run a whole way."""
WITHOUT_SERVICES = "not services"
"""The marks of `make test-fast`."""
SHOWN = {"folder": 5, "file": 15, "case": 20}
"""How many of the slowest are kept in the figures."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-figures", default="", metavar="NAME", help="write the figures of this run to build/NAME.json")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the inner loop, import nothing of what is left out: that takes as long as many of its tests."""
    left_out = config.option.markexpr == WITHOUT_SERVICES and collection_path.is_relative_to(PROJECT)
    return True if left_out and collection_path.relative_to(PROJECT).as_posix() in LONG else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs services; the longest first."""
    for item in items:
        if SERVICES & set(getattr(item, "fixturenames", ())) or item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.services)
    items.sort(key=_rank)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole groups, else whole files, in the order of collection."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # xdist's own `loadgroup` finds no group under pytest 9
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((group for start, group in GROUPS.items() if file.startswith(start)), file)

    config.option.loadscopereorder = False
    return ByGroup(config, log)


def _rank(item: pytest.Item) -> int:
    return next((number for number, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))


class Figures:
    """Sums up a run on the process that leads it."""

    def __init__(self, name: str, workers: int) -> None:
        self.name, self.workers, self.started = name, workers, time.time()
        self.seconds: dict[str, dict[str, float]] = {kind: defaultdict(float) for kind in SHOWN}
        self.outcomes: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        for kind, name in (("folder", file.rpartition("/")[0]), ("file", file), ("case", report.nodeid)):
            self.seconds[kind][name] += report.duration
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1

    def pytest_sessionfinish(self) -> None:
        from tests.figures import write_figures

        figures = {
            "seconds": round(time.time() - self.started, 1),
            "cases": sum(self.outcomes.values()),
            "skipped": self.outcomes["skipped"],
            "workers": self.workers,
            **{f"seconds_by_{kind}": self._slowest(kind) for kind in SHOWN},
        }
        write_figures(self.name, figures, seed=0, runs=1)

    def _slowest(self, kind: str) -> dict[str, float]:
        slowest = sorted(self.seconds[kind].items(), key=lambda one: -one[1])[: SHOWN[kind]]
        return {name: round(seconds, 1) for name, seconds in slowest}


def pytest_configure(config: Any) -> None:
    """Only the leading process counts; its workers report to it."""
    name = config.getoption("--write-figures")
    if name and not hasattr(config, "workerinput"):
        workers = int(getattr(config.option, "numprocesses", 0) or 1)
        config.pluginmanager.register(Figures(name, workers), "ratchet-figures")
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many threads in all as cores
