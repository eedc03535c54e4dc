"""The log: what can't be written is lost, and nothing else."""

import sys
from contextlib import suppress
from pathlib import Path

from pipelines import logs
from pipelines.settings import settings


def test_a_line_that_can_not_be_written_ends_nothing(home, monkeypatch, capsys):
    logs.configure(settings(), "serve")
    full = Path("/dev/full").open("w")  # noqa: SIM115  # closing it fails, too
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        logs.log().warning("on a full disk")
    with suppress(OSError):
        full.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        logs.log().error("to a file that is closed")
    logs.log().info("there is room again")
    assert "there is room again" in capsys.readouterr().err
