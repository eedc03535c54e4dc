"""What the documents tell a reader to run is run."""

import re
import subprocess

import pytest

from tests.conftest import PROJECT

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(name):
    return BLOCK.findall((PROJECT / name).read_text())


@pytest.mark.parametrize("name", ["docs/tutorial.md", "docs/your-data.md", "docs/recommendation.md", "docs/batch-scoring.md"])
def test_commands_of_a_document(name):
    script = "set -euo pipefail\n" + "\n".join(blocks(name))
    answer = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=280, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "Traceback" not in answer.stderr


def test_readme_commands_are_what_ci_runs():
    targets = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks("README.md")), re.MULTILINE))
    ci = set(re.findall(r"^make ([a-z-]+)", (PROJECT / ".ci/run").read_text(), re.MULTILINE))
    assert {"demo", "demo-break", "test"} <= targets <= ci


@pytest.mark.parametrize("path", sorted((PROJECT / "docs/adr").glob("*.md")), ids=lambda path: path.stem)
def test_decision_is_a_page_and_says_what_violates_it(path):
    text = path.read_text()
    assert len(text.split()) <= 500
    assert "A change violates this when" in text


@pytest.mark.parametrize("path", [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!http|#)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
