"""What `make images` asks of Docker, with a stand-in that only writes down how it was called."""

import os
import subprocess
import tomllib

import pytest

from tests.conftest import PROJECT

VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture
def build(tmp_path):
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$DOCKER_BUILDKIT $@" >>{tmp_path}/calls\n')
    docker.chmod(0o755)

    def run(*targets, **variables):
        environment = {key: value for key, value in os.environ.items() if key not in ("TORCH_WHEELS", "PIP_FIND_LINKS", "BASE")}
        command = ["sh", str(PROJECT / "images/build.sh"), *targets]
        subprocess.run(
            command, env={**environment, "DOCKER": str(docker), **variables}, check=True, capture_output=True, cwd=tmp_path
        )
        return [call for call in (tmp_path / "calls").read_text().splitlines() if " image inspect " not in call]

    return run


def test_version_and_revision_are_told(build):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    (call,) = build("serve")
    assert call.startswith("1 build ")
    assert f"--target serve --tag ratchet/serve:{VERSION} --build-arg VERSION={VERSION}" in call
    assert f"--build-arg REVISION={head or 'unknown'}" in call
    assert "WHEELS" not in call
    assert "BASE" not in call


def test_without_targets_all_that_run_without_a_gpu(build):
    assert [call.split("--target ")[1].split()[0] for call in build()] == ["serve", "steps", "airflow", "airflow-steps"]


def test_a_page_of_wheels_is_passed_on_and_the_base_can_be_pinned(build):
    (call,) = build("steps", TORCH_WHEELS="http://127.0.0.1/cpu", BASE="python@sha256:0")
    assert "--build-arg FIND_LINKS=http://127.0.0.1/cpu" in call
    assert "--build-arg BASE=python@sha256:0" in call


def test_a_folder_of_wheels_becomes_an_image(build, tmp_path):
    (tmp_path / "torch-0.whl").touch()
    made, call = build("steps", TORCH_WHEELS=str(tmp_path))
    assert made == "1 import - ratchet/wheels:local"
    assert "--build-arg WHEELS=ratchet/wheels:local" in call
