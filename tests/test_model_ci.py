"""CI for models: the shell blocks of the workflow are run, as they stand; the other CI files call the same two commands."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from pipelines.cli.commands import guarded
from pipelines.errors import InputError
from pipelines.train import command, train
from tests import warm
from tests.conftest import PROJECT, call

WORKFLOW = yaml.safe_load((PROJECT / ".github/workflows/model.yml").read_text())
STEPS = {step["name"]: step for step in WORKFLOW["jobs"]["judge"]["steps"] if "run" in step}
COMMANDS = [".ci/model build", ".ci/model judge"]
BIAS = """
name: bias
description: Quality, and whether one segment suffers.
rules:
  - {name: quality, comparison: champion}
  - {name: segments, comparison: segments, by: segment, margin: 0.3, severity: warns}
"""


def first_icons(name: str) -> bool:
    return name < "bo"


def exchanged(icons):
    """Every second icon gets the label of another."""
    names = sorted(icons)[::2]
    labels = [icons[name]["label"] for name in names]
    for name, label in zip(names, labels[1:] + labels[:1], strict=True):
        icons[name]["label"] = label


PYTHON = """#!/bin/sh
case $1 in -m) exec %s "$@" ;; *) exec %s "$@" ;; esac
"""
"""The checkout's Python: its programs begin with their imports done, which are those of the working tree."""


@pytest.fixture
def checkout(tmp_path):
    """The working tree as CI would have it, with an environment."""
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    folder = tmp_path / "checkout"
    for name in filter(None, files):
        if (PROJECT / name).is_file() and not name.startswith(("docs/", "tests/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON % (shlex.join(warm.command()), shlex.quote(sys.executable)))
    python.chmod(0o755)
    return folder


@pytest.fixture
def run_block(checkout, tmp_path, trained):
    """Run a block of the workflow in the checkout. `gh` is a stand-in that keeps what it was called with."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gh").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/gh\n[ -z "${{GH_REFUSES:-}}" ]\n')
    (programs / "gh").chmod(0o755)

    def run(name, **variables):
        env = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(checkout), "RATCHET_LOG_FORMAT": "json",
            "RATCHET_HOME": str(trained.home), "IMAGES": "", "BASE": "", "PULL_REQUEST": "7",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), **variables,
        }  # fmt: skip
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]  # as the runner does
        return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=200, check=False)

    return run


BUILD, JUDGE, POST = STEPS


def test_the_workflow_judges_a_change_and_posts_the_verdict(run_block, checkout, tmp_path, icons_folder):
    right = str(icons_folder("right", keep=first_icons))
    verdict = checkout / "build/model/verdict.md"
    built = run_block(BUILD)
    assert (built.returncode, "Traceback" in built.stderr) == (0, False), built.stderr[-2000:]
    assert train(folder=right)["served"]
    (checkout / "bias.yaml").write_text(BIAS)
    worse = run_block(JUDGE, GATE="bias.yaml", COLLECTION=f"--folder {icons_folder('wrong', keep=first_icons, edit=exchanged)}")
    assert worse.returncode == 3, worse.stderr[-2000:]
    assert verdict.read_text().startswith("**rejected: nDCG@10 −0.")
    assert re.search(r"^\| segments \| warns \| (?!not run)", verdict.read_text(), re.MULTILINE), "the check of bias has run"
    posted = run_block(POST)
    assert (posted.returncode, (tmp_path / "gh").read_text()) == (0, "pr comment 7 --body-file build/model/verdict.md\n")
    assert (tmp_path / "summary.md").read_text() == verdict.read_text()
    assert run_block(POST, GH_REFUSES="1").stdout == "no right to comment: the verdict is in the summary\n"

    with pytest.raises(SystemExit) as unchanged:
        guarded(command, ["--gate", "default", "--verdict-file", str(verdict), "--folder", right], "train")
    assert unchanged.value.code == 0
    assert "is the champion already" in verdict.read_text()


def test_what_can_not_be_judged_costs_no_work(run_block, checkout):
    (checkout / "bad.yaml").write_text("name: bad\ndescription: d\nrules: [{name: a, comparison: champion, colour: red}]\n")
    for block in (BUILD, JUDGE):
        refused = run_block(block, GATE="bad.yaml")
        assert refused.returncode == 2
        assert "rule 1 (a), colour: red; expected no such key" in refused.stderr
        verdict = checkout / "build/model/verdict.md"
        assert "no such key" in verdict.read_text(), "also where no command after this one is run"
        verdict.unlink()
    assert run_block(JUDGE, COLLECTION="--folder nowhere").returncode == 2
    said = (checkout / "build/model/verdict.md").read_text()
    assert said.startswith("**not judged** (exit code 2): error: given "), "the verdict of the last change must not stay"
    unknown = subprocess.run([".ci/model", "deploy"], cwd=checkout, capture_output=True, text=True, check=False)
    assert (unknown.returncode, "given deploy; expected build or judge" in unknown.stderr) == (2, True)


def test_a_store_that_can_not_be_read_gets_no_champion(run_block, checkout, home):
    """It may have one. `git` has no such commit here, so that a champion that is made all the same ends with its code."""
    store = home / "store"
    (store / "journal").mkdir()
    (store / "journal/00000001.json").write_text("{}")
    assert run_block(JUDGE, BASE="HEAD").returncode == 2
    assert (checkout / "build/model/verdict.md").read_text().startswith("**not judged** (exit code 2): error: given file://")
    (store / "journal/00000001.json").unlink()
    assert run_block(JUDGE, BASE="HEAD").returncode == 128
    assert (checkout / "build/model/verdict.md").read_text().startswith("**not judged** (exit code 128): fatal: ")


def test_the_base_of_a_change_becomes_the_champion_of_a_store_without_one(run_block, checkout, icons_folder):
    (checkout / ".gitignore").write_text(".venv\nbuild\n")
    (checkout / ".venv/bin/python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')  # its own code
    commit = ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "base"]
    for arguments in (["init", "--quiet"], ["add", "."], commit):
        subprocess.run(["git", *arguments], cwd=checkout, check=True)
    judged = run_block(JUDGE, GATE="default", BASE="HEAD", COLLECTION=f"--folder {icons_folder('base', keep=first_icons)}")
    assert judged.returncode == 0, judged.stderr[-2000:]
    assert "is the champion already" in (checkout / "build/model/verdict.md").read_text()
    assert not (checkout / "build/model/base").exists()


def test_every_ci_file_calls_the_same_two_commands():
    assert [STEPS[name]["run"] for name in (BUILD, JUDGE)] == COMMANDS
    assert yaml.safe_load((PROJECT / ".gitlab-ci.yml").read_text())["model"]["script"] == COMMANDS
    jenkins = (PROJECT / "Jenkinsfile").read_text()
    assert re.findall(r"sh '(.+?)'", jenkins) == COMMANDS
    assert len(jenkins.splitlines()) <= 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gate", "nothing"], "given gate file 'nothing'; expected one of default"),
        (["--gate", "default", "--verdict-file", "nowhere/verdict.md"], "expected a file in a folder that exists"),
        (["--gate", "default", "--waive", "a reason"], "given --gate together with --waive"),
    ],
)
def test_options_of_the_gate_that_can_not_work(home, capsys, arguments, message):
    assert guarded(command, arguments, "train") == 2
    assert message in capsys.readouterr().err
    assert not home.exists(), "it is refused before any work"


def test_files_that_declare_rules_are_validated(tmp_path, home):
    assert call("validate").validated >= 3
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: p\ndescription: d\nrules: [{name: a, repairs: [page]}]\n")
    bad.write_text("name: p\n")
    assert call("validate", policy=[str(good)]).validated == 1
    for kind in ("gate_file", "policy", "suite", "experiment"):
        with pytest.raises(InputError, match=r"bad\.yaml"):
            call("validate", **{kind: [str(bad)]})
