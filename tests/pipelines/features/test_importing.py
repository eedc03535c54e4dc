"""Feast and the clients of Kubernetes are imported where it costs least, and nobody else notices."""

import subprocess
import sys

from pipelines.settings import PROJECT, environment

PROGRAM = """
import sys, typeguard
checked = typeguard.typechecked
from pipelines.features.importing import import_feast
import_feast()
assert "torch" not in sys.modules, "PyTorch was imported"
assert typeguard.typechecked is checked, "others get no checks"
import torch
assert torch.ones(2).sum() == 2
import_feast()
"""


def test_without_torch_which_others_still_get():
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment({}), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_mlflows_client_does_not_import_feast():
    program = """
import sys
from pipelines.projections.mlflow import connected
connected()
import mlflow.tracking.request_header.registry  # as its first request does
assert "feast" not in sys.modules
"""
    variables = environment({"RATCHET_MLFLOW_URI": "http://127.0.0.1:9"})
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_airflow_imports_kubernetes_before_it_forks():
    program = "import sys, airflow.settings; assert 'kubernetes_asyncio.client' in sys.modules"
    variables = environment({"AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins")})
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
