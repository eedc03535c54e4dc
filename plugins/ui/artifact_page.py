"""/ratchet/artifacts/KIND/ID: the manifest of an artifact."""

from fastapi import HTTPException
from fastapi.responses import HTMLResponse

from pipelines.errors import StepError
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store
from pipelines.store.recipes import KINDS
from ui.rendering import not_found, rendered


def artifact_page(kind: str, artifact_id: str) -> HTMLResponse:
    """Recipe, files, facts, cost and provenance of the artifact; 404 if it does not exist."""
    try:
        artifact = load_artifact(kind, artifact_id)
    except StepError as error:
        return not_found(error)
    has_report = "report.html" in artifact.manifest.files
    return rendered("artifact.html", manifest=artifact.manifest, kinds=KINDS, has_report=has_report)


def load_artifact(kind: str, artifact_id: str) -> Artifact:
    """The artifact of that id.

    Raises:
        HTTPException: 404, if kind or id can't be one of the store's: neither becomes a path then.
        InputError: there is no such artifact.
    """
    if kind not in KINDS or not artifact_id.isalnum():
        raise HTTPException(404, "no such artifact")
    return load_exactly(open_store(), kind, artifact_id)
