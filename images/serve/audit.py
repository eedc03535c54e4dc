"""The audit log: what admins asked of this server, and what callers were refused for a scope that they lack."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from images.serve.exposure_log import append_events
from pipelines.masking import masked

FILE = "audit.jsonl"
Outcome = Literal["allowed", "refused"]


class Act(BaseModel):
    """One line of the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    caller: str
    act: str
    outcome: Outcome


class AuditLog:
    """The file `audit.jsonl` beside the exposures; lines are appended, never changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def record(self, caller: str, act: str, outcome: Outcome) -> None:
        """Append a line, before the act.

        Raises:
            TryAgain: it could not be written; the act must not happen then.
        """
        append_events(self._path, [Act(at=datetime.now(UTC), caller=caller, act=masked(act)[:200], outcome=outcome)])
