"""The gate files that are shipped, one YAML file each."""

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "default"


def gate_file_names() -> list[str]:
    """The names of the shipped gate files, which forms offer, sorted.

    >>> DEFAULT in gate_file_names()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
