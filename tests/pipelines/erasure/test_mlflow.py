"""What MLflow shows of a release is erased with the release: files, tags and descriptions, on a real server."""

import pytest

from pipelines.settings import bound_mlflow
from tests.conftest import call
from tests.planted import DOCUMENT, TITLE, everywhere, released
from tests.services import mlflow

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]  # the server may take half of it to start on a busy machine


def test_mlflow_forgets_too(planted, home, tmp_path, monkeypatch):
    with mlflow(tmp_path / "mlflow") as uri:
        monkeypatch.setenv("RATCHET_MLFLOW_URI", uri)
        call("reconcile")
        bound_mlflow()
        from mlflow.tracking import MlflowClient

        client = MlflowClient(uri)
        (version,) = client.search_model_versions("name='release'")
        client.set_model_version_tag("release", version.version, "note", f"it shows {TITLE}")
        client.update_model_version("release", version.version, f"best on {DOCUMENT}")
        client.log_text(version.run_id, f"{TITLE} is first", "release/more/notes.md")
        first = call("erase", kind="document", subject=DOCUMENT, why="ticket")
        assert not first.finished
        paths = {entry.path for entry in client.list_artifacts(version.run_id, "release/more")}
        assert paths == set()
        shown = client.get_model_version("release", version.version)
        assert (shown.tags["note"], shown.description, shown.tags["release"]) == ("erased", "erased", planted.release)
        released(first.successor)
        assert call("erase", kind="document", subject=DOCUMENT, why="ticket").finished
        assert everywhere(tmp_path / "mlflow/artifacts", (DOCUMENT, TITLE)) == []
        assert everywhere(home, (DOCUMENT, TITLE)) == []
