"""Where this project lies on this machine, and how its parts are installed."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def install_command(extra: str) -> str:
    """The command that installs what an extra lacks, to be run in the project's folder."""
    uv = ".venv/bin/uv"
    return f"{uv} pip install --python .venv -c constraints.txt -e '.[{extra}]'" if (PROJECT / uv).exists() else "make install"
