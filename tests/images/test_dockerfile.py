"""What the Dockerfile promises, without building it: `make images` builds it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from operators.pod_spec import USER

from pipelines.settings import Settings
from tests.conftest import PROJECT

DOCKERFILE = PROJECT / "images" / "Dockerfile"
TARGETS = ("airflow", "airflow-steps", "serve", "serve-openvino", "steps", "steps-gpu")
PROJECT_FILE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
SCRIPTS = sorted(PROJECT.glob("images/**/*.sh"))
HARMS = {
    "unpinned base": ("python:3.11-slim-bookworm", "python:latest"),
    "unpinned package": ("uv==0.13.9", "uv"),
    "unpinned system package": ("RUN groupadd", "RUN apt-get install curl && groupadd"),
}


def stages(text):
    """Each stage's name, with the lines of all stages that it is made from and without the build's."""
    joined = re.sub(r"\\\n", " ", text)
    own, parent = {}, {}
    for block in re.split(r"^(?=FROM )", joined, flags=re.MULTILINE)[1:]:
        first, _, rest = block.partition("\n")
        _, base, _, name = first.split()
        own[name], parent[name] = rest.splitlines(), base

    def lines(name):
        return [*lines(parent[name]), *own[name]] if name in own else []

    return {name: lines(name) for name in own}


STAGES = stages(DOCKERFILE.read_text())


def installed(target):
    """The extras in a target's image."""
    (source,) = {line.split()[1].removeprefix("--from=") for line in STAGES[target] if "/opt/venv /opt/venv" in line}
    (call,) = {line for line in STAGES[source] if "./install.sh" in line}
    return set(call.split("./install.sh ")[1].split())


def hadolint(path):
    command = [str(Path(sys.executable).parent / "hadolint"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint():
    answer = hadolint(DOCKERFILE)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("harm", HARMS)
def test_hadolint_finds(tmp_path, harm):
    text = DOCKERFILE.read_text()
    assert HARMS[harm][0] in text
    changed = tmp_path / "Dockerfile"
    changed.write_text(text.replace(*HARMS[harm]).replace("FROM ${BASE}", "FROM python:latest"))
    assert hadolint(changed).returncode == 1


@pytest.mark.parametrize("target", TARGETS)
def test_runs_without_rights_and_says_what_it_is(target):
    users = [line.split()[1] for line in STAGES[target] if line.startswith("USER ")]
    labels = " ".join(line for line in STAGES[target] if line.startswith("LABEL "))
    assert users[-1] == f"{USER}:{USER}"
    assert 'image.version="${VERSION}"' in labels
    assert 'image.revision="${REVISION}"' in labels


@pytest.mark.parametrize("target", TARGETS)
def test_carries_only_what_it_is_for(target):
    extras = installed(target)
    assert extras <= set(PROJECT_FILE["optional-dependencies"])
    assert ("airflow" in extras) == ("airflow" in target)
    assert ("steps" in extras) == ("steps" in target)
    assert ("gpu" in extras) == target.endswith("gpu")
    assert "test" not in extras
    assert ("openvino-runtime" in extras) == (target == "serve-openvino"), "what quantizes is in no server"


@pytest.mark.parametrize("target", TARGETS)
def test_the_page_names_the_extras_of_each_image(target):
    rows = [
        line.split("|") for line in (PROJECT / "docs" / "images.md").read_text().splitlines() if line.startswith("| `ratchet/")
    ]
    (extras,) = [row[3] for row in rows if row[1].strip() == f"`ratchet/{target}`"]
    assert set(extras.strip().split(", ")) == installed(target)


def test_nothing_is_built_in_what_is_shipped():
    shipped = [line for target in TARGETS for line in STAGES[target]]
    assert [line for line in shipped if re.search(r"\b(pip|uv|gcc|apt-get|install\.sh)\b", line)] == []


def test_serve_has_a_health_check_and_asks_its_own_port():
    (check,) = [line for line in STAGES["serve"] if line.startswith("HEALTHCHECK")]
    assert "$RATCHET_SERVER_PORT/healthz" in check
    assert any(f"RATCHET_SERVER_PORT={Settings.model_fields['server_port'].default}" in line for line in STAGES["serve"])


def test_what_is_copied_is_let_into_the_build():
    ignored = (PROJECT / ".dockerignore").read_text().split("\n")
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for lines in STAGES.values()
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied
    assert "*" in ignored
    assert {source for source in copied if source.partition("/")[0] not in allowed or not (PROJECT / source).exists()} == set()


def test_the_settings_name_these_images():
    version = PROJECT_FILE["version"]
    assert Settings.model_fields["image"].default == f"ratchet/steps:{version}"
    assert Settings.model_fields["image_gpu"].default == f"ratchet/steps-gpu:{version}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_parses_and_may_be_run(script):
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert script.stat().st_mode & 0o111 == 0o111
