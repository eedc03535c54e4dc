"""The house's rules that no linter knows: doors between folders, sizes, names, one reader of the environment."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

HEAVY = {
    "torch", "faiss", "pandas", "mlflow", "feast", "numpy", "scipy", "matplotlib", "onnxruntime", "transformers", "ir_measures",
    "great_expectations", "presidio_analyzer", "presidio_anonymizer", "spacy", "pyarrow", "py3langid",
}  # fmt: skip
ROOMS = ("pipelines", "plugins", "dags", "images", "demo")
SOURCES = sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))
STEPS = sorted(path for path in (PROJECT / "pipelines/steps").glob("*.py") if path.name != "__init__.py")
DAGS = sorted((PROJECT / "dags").glob("*.py"))
HOSTS = (
    r"127\.0\.0\.1|www\.w3\.org|www\.apache\.org|s3\.example\.org|evil\.example|testserver|x|ann|hush-hush|"
    r"seaweedfs|mlflow|airflow|serve(-watch)?"
)
"""Hosts that files may name: this machine, the stack's own services, name spaces, and stand-ins in tests."""
DOORS = {
    "dags": {"airflow.sdk", "operators", "pipelines.contract", "pipelines.settings", "pipelines.steps"},
    "plugins/operators": {
        "airflow", "botocore", "kubernetes", "opentelemetry", "pydantic", "operators", "tenacity", "urllib3",
        "pipelines.artifacts", "pipelines.contract", "pipelines.errors", "pipelines.settings", "pipelines.steps",
    },
    "pipelines/statistics": {"numpy", "scipy", "pipelines.statistics"},
    "plugins/ui": {
        "airflow", "fastapi", "jinja2", "sqlalchemy", "ui", "pipelines.artifacts", "pipelines.contract", "pipelines.errors",
        "pipelines.evaluation.verdicts", "pipelines.store.journal", "pipelines.reports", "pipelines.settings",
    },
}  # fmt: skip
"""What the files of a room may import besides the standard library, anywhere in a file."""
VAGUE = {
    "utils",
    "util",
    "helper",
    "helpers",
    "common",
    "misc",
    "manager",
    "handler",
    "processor",
    "data",
    "new",
    "old",
    "v2",
    "final",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def imports_at_module_level(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if name_of(path).startswith(("dags", "plugins", "pipelines/steps", "pipelines/contract"))],
    ids=name_of,
)
def test_nothing_heavy_at_module_level(path):
    assert not {name.partition(".")[0] for name in imports_at_module_level(path)} & HEAVY


def imports(source: str) -> set[str]:
    """Every name that a source imports, wherever it does: `from pipelines import logs` gives `pipelines.logs`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def past_the_door(source: str, room: str) -> set[str]:
    return {
        name
        for name in imports(source)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(f"{name}.".startswith(f"{allowed}.") for allowed in DOORS[room])
    }


@pytest.mark.parametrize(
    ("room", "path"),
    [(room, path) for room in DOORS for path in SOURCES if name_of(path).startswith(f"{room}/")],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_a_room_imports_what_its_door_lets_in(room, path):
    assert past_the_door(path.read_text(), room) == set()


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("dags", "from pipelines.retrieval.release import Release"),
        ("dags", "from pipelines import journal"),
        ("dags", "import pipelines.artifacts"),
        ("dags", "from ui import pages"),
        ("dags", "from airflow.models import DagRun"),
        ("pipelines/statistics", "from pipelines.evaluation.measures import per_query"),
        ("pipelines/statistics", "import pandas"),
        ("plugins/operators", "def late():\n    from pipelines.store.journal import Journal"),
        ("plugins/operators", "from pipelines.artifacts_else import x"),
        ("plugins/ui", "from pipelines.steps.look.why import why"),
        ("plugins/ui", "from images.serve.app import application"),
        ("plugins/ui", "from . import pages"),
    ],
)
def test_a_shut_door_is_seen(room, line):
    assert past_the_door(line, room) != set()


@pytest.mark.parametrize("path", [path for path in SOURCES if name_of(path).startswith("images/serve")], ids=name_of)
def test_serving_never_imports_a_step(path):
    assert not re.search(r"^\s*(from|import) pipelines\.(steps|train)", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_say_something(path):
    assert not set(path.stem.split("_")) & VAGUE


@pytest.mark.parametrize("path", [path for path in SOURCES if not name_of(path).startswith("demo")], ids=name_of)
def test_environment_is_read_in_settings_alone(path):
    reads = re.search(r"os\.(environ|getenv)\b|from os import.*environ", path.read_text())
    assert name_of(path) == "pipelines/settings.py" or not reads


@pytest.mark.parametrize("path", STEPS, ids=name_of)
def test_step_file_is_short(path):
    assert len(path.read_text().splitlines()) <= 120


@pytest.mark.parametrize("path", DAGS, ids=name_of)
def test_dag_file_is_short_and_has_no_function(path):
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 60
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]


def test_functions_are_short():
    lengths = {f"{name_of(path)}:{one.name}": length(one) for path in SOURCES for one in functions(path)}
    assert statistics.median(lengths.values()) <= 10
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_everything_is_annotated():
    bare = [
        f"{name_of(path)}:{one.name}"
        for path in SOURCES
        for one in functions(path)
        if one.returns is None
        or any(a.annotation is None for a in one.args.args + one.args.kwonlyargs if a.arg not in ("self", "cls"))
    ]
    assert bare == []


def test_project_speaks_of_itself_alone():
    """No registry's host, no path of one machine in what is committed."""
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    forbidden = re.compile(rf"(?<![\w./]){re.escape(str(PROJECT))}/|https?://(?!(?:{HOSTS})(?![\w.-]))[a-z]")
    texts = [PROJECT / name for name in files if not name.endswith((".png", ".svg", "test_house.py"))]
    assert [name_of(path) for path in texts if path.exists() and forbidden.search(path.read_text(errors="ignore"))] == []


def test_core_imports_are_light():
    """The contract and every step's file load without one heavy library."""
    modules = [f"pipelines.steps.{path.stem}" for path in STEPS]
    imports = f"[importlib.import_module(name) for name in {modules!r}]"
    code = f"import importlib, sys; {imports}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
