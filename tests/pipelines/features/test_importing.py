"""Feast is imported without what takes seconds, and nobody else notices."""

import subprocess
import sys

from pipelines.settings import environment

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
