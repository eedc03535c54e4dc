"""What the documents tell a reader to run is run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import PurePosixPath

import pytest

from pipelines.corpus.documents import Query
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import PROJECT, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.pipelines.deployment.conftest import counted, ranked_unseen
from tests.pipelines.models.training.conftest import THINGS, documents, topics
from tests.services import prometheus_here
from tests.tiny_models import tiny_bert

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
ARCHITECTURE = (PROJECT / "docs/architecture.md").read_text()
FOLDERS = ("dags", "plugins", "images", "pipelines", "demo", "proofs", "benches", "cluster", "tests", "docs")
"""The folders at the top that the tree names."""
PAGES = [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md")), *sorted((PROJECT / "docs").rglob("*.md"))]


def blocks(name):
    return BLOCK.findall((PROJECT / name).read_text())


def runbook():
    """The blocks of the runbook that need a champion, and the others; both begin with the first, which defines what all use."""
    page = (PROJECT / "docs/runbook.md").read_text()
    first, *_ = BLOCK.findall(page)
    before, models, rest = re.split("^## (?=Introduce|Keys)", page, flags=re.MULTILINE)
    assert BLOCK.findall(before) == [first]
    return [first, *BLOCK.findall(models)], [first, *BLOCK.findall(rest)]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("docs/tutorial.md", ()),
        ("docs/your-data.md", ("blobs", "encoder")),
        ("docs/recommendation.md", ("blobs", "encoder")),
        ("docs/batch-scoring.md", (".",)),
        ("docs/promotion.md", ("blobs", "encoder")),
        ("docs/ci.md", ()),
    ],
)
def test_commands_of_a_document(name, kept, request, tmp_path):
    """The tutorial begins with an empty store; the others find in theirs what its commands make, so that it is made once.

    That programs begin cold, as a reader's do, is tried by `make demo`.
    """
    for part in kept:
        served = request.getfixturevalue("_served_once")[0] / "store"
        shutil.copytree(served / part, tmp_path / "store" / part, copy_function=os.link)
    run_commands(blocks(name), {"RATCHET_STORE": f"file://{tmp_path}/store"} if kept else {})


WARM = """
.venv/bin/python() {
    case "$1 ${2:-}" in
        "-m pipelines"* | "-m images.serve") %s "$@" ;;
        *) command .venv/bin/python "$@" ;;
    esac
}
"""
"""What a script runs in place of Python: our programs begin with their imports done."""


def run_commands(shown, variables):
    """Run blocks of a document as one script; returns what it printed."""
    script = "\n".join(["set -euo pipefail", WARM % shlex.join(warm.command()), *shown])
    if "services up prometheus" in script:
        prometheus_here()
    command = ["bash", "-c", script]
    given = {**os.environ, **variables}
    answer = subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, timeout=280, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "Traceback" not in answer.stderr
    return answer.stdout


def test_commands_of_the_runbook():
    run_commands(runbook()[1], {})


def test_commands_of_the_runbook_about_models(home, tmp_path):
    """On a small store with a champion that both a reranker and a tuned encoder can beat."""
    first = champion_to_beat(home)
    for entry in (9, 12):  # of the promotions before both deployments by evidence
        counted(entry)
    ranked_unseen(10, errors=20)
    base, short = tiny_bert(tmp_path / "base"), "--learning-rate 3e-3 --batch-size 4 --epochs 4 --patience 4 --threads 1"
    printed = run_commands(
        runbook()[0],
        {
            "RATCHET_STORE": f"file://{home}/store",
            "RERANKER_OPTIONS": f"--base {base} --candidates 8 {short}",
            "ENCODER_OPTIONS": f"--model {base} {short}",
            "VARIANT_OPTIONS": "--variants onnx-int8-weights --queries 8",
            "CHOICE_OPTIONS": "--queries 20 --latency-s 0 --threads 1",
        },
    )
    assert [line.split(":")[0] for line in printed.splitlines() if "against champion" in line and line[0] != "{"] == [
        "passed"
    ] * 2
    entries = Journal(open_store()).entries
    acted = ["deploy", "promote", "deploy", "rollback", "promote", "weight", "deploy", "rollback"]
    acted += ["promote", "stage", "stage", "promote", "stage", "weight"]
    assert [entry.action for entry in entries] == acted
    assert "rolled back: canary-" in entries[10].why
    told = [json.loads(line).get("deployment") for line in printed.splitlines() if line.startswith("{")]
    assert entries[10].why in told, "`why` tells which guardrail, and how many times worse"
    assert entries[3].to == first
    reranked = load(open_store(), "release", entries[2].to).json("release.json")
    assert [stage["stage"] for stage in reranked["stages"]] == ["dense", "rerank"]


def champion_to_beat(home):
    """A release that finds nothing of what the train queries could teach; its id."""
    asked, judged = topics()
    others = ["old", "new", "light", "heavy"]
    tests = [Query(id=f"{word}-{thing}", text=f"{word} {thing}", split="test") for thing in THINGS for word in others]
    judged += [f"{query.id} 0 {query.text.split()[1]}-blue 1" for query in tests]
    corpus = write_corpus(documents(), [*asked, *tests], judged)
    release = embedded_release(home, corpus, static_encoder()).release
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    return release


def test_readme_commands_are_what_ci_runs():
    targets = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks("README.md")), re.MULTILINE))
    ci = set(re.findall(r"^make ([a-z-]+)", (PROJECT / ".ci/run").read_text(), re.MULTILINE))
    assert {"demo", "demo-break", "test"} <= targets <= ci


def test_readme_counts_the_dags():
    (number,) = re.findall(r"(\d+) DAGs", (PROJECT / "README.md").read_text())
    assert int(number) == len(list((PROJECT / "dags").glob("*.py")))


def test_decisions_are_numbered_one_by_one():
    names = sorted(path.name for path in (PROJECT / "docs/adr").glob("*.md"))
    assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, len(names) + 1)]


@pytest.mark.parametrize("path", sorted((PROJECT / "docs/adr").glob("*.md")), ids=lambda path: path.stem)
def test_decision_is_a_page_and_says_what_violates_it(path):
    text = path.read_text()
    assert len(text.split()) <= 500
    assert "A change violates this when" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!http|#)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_paths_that_a_page_names_exist(path):
    text = path.read_text()
    made = set(re.findall(r"^```python file=(\S+)", text, re.MULTILINE))
    named = {
        name.rstrip(".") for name in re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\.(?:py|md|sh|yaml)\b", text)
    }
    assert [name for name in sorted(named - made) if not (PROJECT / name).exists()] == []


def fenced(language):
    """The one block of architecture.md in this language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    return block


def tree():
    """The paths that the tree names: each line's name below the last line that is indented less."""
    paths, parents = [], []
    for line in fenced("text").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0].rstrip("/")
        parents[depth:] = [name]
        paths.append("/".join(parents))
    return paths


def test_paths_of_the_architecture_exist():
    paths = {name for name in re.findall(r"`([\w./-]+\.(?:py|toml)|[\w-]+/)`", ARCHITECTURE) if name != "__init__.py"}
    paths -= {"adr/", "figures/"}  # named within the line of docs/
    assert [name for name in sorted(paths | set(tree())) if not (PROJECT / name).exists()] == []


def test_tree_names_every_room_once():
    paths = tree()
    assert len(paths) == len(set(paths))
    packages = {
        str(path.parent.relative_to(PROJECT))
        for folder in ("pipelines", "plugins", "images")
        for path in (PROJECT / folder).rglob("__init__.py")
    }
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "pipelines").glob("*.py") if path.name != "__init__.py"}
    assert {*FOLDERS, *packages, *modules} - set(paths) == set()


def test_tree_names_every_step_in_its_folder():
    for line in fenced("text").splitlines():
        name = line.split()[0].rstrip("/")
        folder = PROJECT / "pipelines/steps" / name
        if line.startswith("    ") and folder.is_dir():
            steps = {path.stem for path in folder.glob("*.py")} - {"__init__"}
            assert steps <= set(re.findall(r"\w+", line)), name


def test_layers_are_those_of_the_contract():
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert fenced("layers").splitlines() == layers


def test_walk_goes_from_source_to_search_and_never_turns_back():
    walk = re.findall(r"^(\d+)\. `([\w/.]+)`: \S", ARCHITECTURE, re.MULTILINE)
    files = [name for _, name in walk]
    assert [int(number) for number, _ in walk] == list(range(1, len(walk) + 1))
    assert [name for name in files if not (PROJECT / name).is_file()] == []
    assert len(files) == len(set(files))
    chain = (
        "ingest",
        "plan",
        "embed",
        "commit_embeddings",
        "index",
        "assemble",
        "evaluate",
        "gate",
        "promote",
        "deploy",
        "app",
    )
    assert [PurePosixPath(name).stem for name in files if PurePosixPath(name).stem in chain] == list(chain)


def test_glossary_has_each_word_once():
    words = [word for word, _ in re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", ARCHITECTURE, re.MULTILINE) if word != "word"]
    assert len(words) == len(set(words)) > 30
