"""Settings that a task's runner gives to the step it starts: logs, result, and what provenance records."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, Field


class TaskSettings(BaseModel):
    """The logs and the result of one step, and who asked for it."""

    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    result_path: Path | None = Field(None, description="File that also receives a step's result")
    result_key: str = Field("", description="Key in the store that also receives a step's result")
    dag: str = ""
    dag_run: str = ""
    task: str = ""
    try_number: int = 0
    git_sha: str = ""
    image_file: Path | None = None
    pod: str = ""
    node: str = ""
    gpus: int = 0
    queued_at: str = ""
    lineage_parent: str = Field("", validation_alias=AliasChoices("OPENLINEAGE_PARENT_ID", "RATCHET_LINEAGE_PARENT"))
    traces_url: str = Field(
        "",
        description="Address that takes spans by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; empty: none are sent",
    )
    traceparent: str = Field("", validation_alias=AliasChoices("TRACEPARENT", "RATCHET_TRACEPARENT"))

    @property
    def image_digest(self) -> str:
        """The image that this process runs in, as its node names it; empty outside a pod, or before the pod was told."""
        if self.image_file is None or not self.image_file.is_file():
            return ""
        return self.image_file.read_text(encoding="utf-8").strip()
