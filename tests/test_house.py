"""Rules of the house that no linter checks: imports of dags and plugins, sizes, names, one reader of the environment."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

HEAVY = {
    "torch", "faiss", "pandas", "mlflow", "feast", "numpy", "scipy", "matplotlib", "onnxruntime", "transformers", "ir_measures",
    "duckdb", "tea_tasting", "great_expectations", "presidio_analyzer", "presidio_anonymizer", "spacy", "pyarrow", "py3langid",
}  # fmt: skip
ROOMS = ("pipelines", "plugins", "dags", "images", "demo")
SOURCES = sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py"))
STEPS = sorted(path for path in (PROJECT / "pipelines/steps").glob("*/*.py") if path.name != "__init__.py")
DAGS = sorted((PROJECT / "dags").glob("*.py"))
SERVER = [path for path in SOURCES if "images/serve" in str(path)]
HOSTS = (
    r"127\.0\.0\.1|www\.w3\.org|www\.apache\.org|s3\.example\.org|evil\.example|testserver|x|ann|hush-hush|"
    r"seaweedfs|mlflow|airflow|serve(-watch)?|prometheus|jaeger|loki"
)
"""Hosts that files may name: this machine, the stack's own services, name spaces, and stand-ins in tests."""
DOORS = {
    "dags": {"airflow.sdk", "operators", "pipelines.contract", "pipelines.settings", "pipelines.steps"},
    "plugins/operators": {
        "airflow", "botocore", "kubernetes", "opentelemetry", "pydantic", "operators", "tenacity", "urllib3",
        "pipelines.contract", "pipelines.errors", "pipelines.settings", "pipelines.store.objects", "pipelines.store.recipes",
    },
    "pipelines/statistics": {"numpy", "scipy", "pipelines.statistics"},
    "plugins/ui": {
        "airflow", "fastapi", "jinja2", "prometheus_client", "pydantic", "sqlalchemy", "ui",
        "pipelines.access.keys", "pipelines.contract", "pipelines.errors", "pipelines.gates.verdict",
        "pipelines.store.artifacts", "pipelines.store.journal", "pipelines.store.objects", "pipelines.store.recipes",
    },
}  # fmt: skip
"""What the files of a room may import besides the standard library, anywhere in a file."""
BREACHES = {
    "dags": [
        ("pipelines.retrieval.release", "Release"),
        ("pipelines.store", "journal"),
        ("pipelines.store.artifacts", "load"),
        ("pipelines.score", "score"),
        ("ui.notes", "note_of"),
    ],
    "plugins/operators": [
        ("pipelines.store.journal", "Journal"),
        ("pipelines.store.artifacts", "load"),
        ("pipelines.steps.look.why", "why"),
        ("pipelines.gates", "verdict"),
        ("ui.notes", "note_of"),
    ],
    "plugins/ui": [
        ("pipelines.steps.look.why", "why"),
        ("pipelines.store", "gc"),
        ("pipelines.gates.rules", "NonInferiority"),
        ("images.serve.app", "build_app"),
        ("operators.step", "StepOperator"),
    ],
}
"""Modules of this project that a room must not import."""
VAGUE = {
    "utils", "util", "helper", "helpers", "common", "misc", "manager", "handler", "processor", "data", "new", "old", "v2",
    "final",
}  # fmt: skip


def test_the_sweeps_see_the_house():
    """A sweep over a glob that matches nothing would pass."""
    assert len(SOURCES) >= 180
    assert len(STEPS) >= 26
    assert len(DAGS) >= 7
    assert len(SERVER) >= 10
    assert all(len(sources_of(room)) >= count for room, count in (("dags", 7), ("plugins/operators", 11), ("plugins/ui", 8)))


def sources_of(room: str) -> list[Path]:
    return [path for path in SOURCES if name_of(path).startswith(f"{room}/")]


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
    [(room, path) for room in DOORS for path in sources_of(room)],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_a_room_imports_what_its_door_lets_in(room, path):
    assert past_the_door(path.read_text(), room) == set()


@pytest.mark.parametrize(
    ("room", "module", "name"), [(room, *breach) for room, breaches in BREACHES.items() for breach in breaches]
)
def test_a_shut_door_is_seen(room, module, name):
    place = (PROJECT / ("plugins" if module.split(".")[0] in ("ui", "operators") else "")).joinpath(*module.split("."))
    assert place.is_dir() or place.with_suffix(".py").is_file(), "no such module: this breach proves nothing"
    assert past_the_door(f"from {module} import {name}", room) != set()
    assert past_the_door(f"def late():\n    import {module}", room) != set()


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("dags", "from airflow.models import DagRun"),
        ("pipelines/statistics", "from pipelines.evaluation.measures import per_query"),
        ("pipelines/statistics", "import pandas"),
        ("plugins/operators", "from pipelines.store.objects_else import x"),
        ("plugins/ui", "from . import notes"),
    ],
)
def test_other_ways_past_a_door_are_seen(room, line):
    assert past_the_door(line, room) != set()


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_serving_never_imports_a_step(path):
    assert not re.search(r"^\s*(from|import) pipelines(\.| import )(steps|train|score)\b", path.read_text(), re.MULTILINE)


INNER = min((PROJECT / "pipelines/collections").glob("[a-z]*.py")).stem
PLANTED = {
    "pipelines/wording.py": "import airflow",
    "pipelines/steps/look/why.py": "from pipelines.steps.look.history import history",
    "pipelines/corpus/documents.py": "from pipelines.evaluation import measures",
    "pipelines/steps/look/diff.py": f"from pipelines.collections.{INNER} import __doc__",
    "pipelines/attic/__init__.py": "",
}
CONTRACTS = [
    "pipelines never imports Airflow",
    "a step never imports a step",
    "rooms import downwards",
    "collections has one door",
]


def test_a_breach_of_each_contract_is_seen(tmp_path):
    """In a copy: an import of Airflow, of a step by a step, upwards, and past the door of collections; and an unlisted room."""
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PROJECT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    as_it_is = lint_imports(tmp_path)
    assert [f"{contract} KEPT" in as_it_is.stdout for contract in CONTRACTS] == [True] * 4, as_it_is.stdout + as_it_is.stderr
    for name, line in PLANTED.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    broken = lint_imports(tmp_path)
    assert broken.returncode != 0
    assert [f"{contract} BROKEN" in broken.stdout for contract in CONTRACTS] == [True] * 4, broken.stdout + broken.stderr
    assert "pipelines.wording -> airflow" in broken.stdout
    assert "pipelines.steps.look.why -> pipelines.steps.look.history" in broken.stdout
    assert "pipelines.corpus.documents -> pipelines.evaluation" in broken.stdout
    assert f"pipelines.steps.look.diff -> pipelines.collections.{INNER}" in broken.stdout
    assert "attic" in broken.stdout


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    variables = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("room", ["pipelines", "plugins/operators", "plugins/ui"])
def test_every_folder_is_a_package(room):
    folders = {path.parent for path in SOURCES if name_of(path).startswith(f"{room}/")}
    assert folders
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_say_something(path):
    assert not set(path.stem.split("_")) & VAGUE


@pytest.mark.parametrize("path", [path for path in SOURCES if not name_of(path).startswith("demo")], ids=name_of)
def test_environment_is_read_in_settings_alone(path):
    reads = re.search(r"os\.(environ|getenv)\b|from os import.*environ", path.read_text())
    assert name_of(path).startswith("pipelines/settings/") or not reads


@pytest.mark.parametrize("path", STEPS, ids=name_of)
def test_step_file_is_short(path):
    assert len(path.read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", DAGS, ids=name_of)
def test_dag_file_is_short_and_has_no_function(path):
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 60
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]


@pytest.fixture(scope="module")
def declared():
    """The functions of each file."""
    return {path: functions(path) for path in SOURCES}


def test_functions_are_short(declared):
    lengths = {f"{name_of(path)}:{node.name}": length(node) for path, nodes in declared.items() for node in nodes}
    assert statistics.median(lengths.values()) <= 10
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_everything_is_annotated(declared):
    bare = [
        f"{name_of(path)}:{node.name}"
        for path, nodes in declared.items()
        for node in nodes
        if node.returns is None
        or any(a.annotation is None for a in node.args.args + node.args.kwonlyargs if a.arg not in ("self", "cls"))
    ]
    assert bare == []


def test_project_speaks_of_itself_alone():
    """No registry's host, no path of one machine in what is committed."""
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    forbidden = re.compile(rf"(?<![\w./]){re.escape(str(PROJECT))}/|https?://(?!(?:{HOSTS})(?![\w.-]))[a-z]")
    texts = [PROJECT / name for name in files if not name.endswith((".png", ".svg", "test_house.py"))]
    assert len(texts) >= 400
    assert [name_of(path) for path in texts if path.exists() and forbidden.search(path.read_text(errors="ignore"))] == []


def test_core_imports_are_light():
    """The contract and every step's file load without one heavy library."""
    modules = [name_of(path.with_suffix("")).replace("/", ".") for path in STEPS]
    imports = f"[importlib.import_module(name) for name in {modules!r}]"
    code = f"import importlib, sys; {imports}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
