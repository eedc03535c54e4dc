"""What was measured of a release and stored, read again: evaluations, latency, estimates from logs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pipelines.store.artifacts import Artifact


@dataclass(frozen=True)
class Measurement:
    """A stored measurement of a release."""

    SUMMARY: ClassVar[str]
    """The name of the file with its figures."""
    artifact: Artifact

    @property
    def id(self) -> str:
        return self.artifact.id

    @property
    def release(self) -> str:
        """The release that was measured."""
        return self.artifact.inputs["release"]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of the file SUMMARY."""
        summary: dict[str, Any] = self.artifact.json(self.SUMMARY)
        return summary
