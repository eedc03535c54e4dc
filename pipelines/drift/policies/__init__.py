"""The policies of drift that are shipped, one YAML file each."""

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "default"
