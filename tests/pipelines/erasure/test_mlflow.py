"""What MLflow shows of a release is erased with the release: files, tags and descriptions, on a real server."""

import subprocess

import pytest

from pipelines.errors import TryAgain
from pipelines.projections.mlflow_content import erase, found
from pipelines.settings import bound_mlflow, environment
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import call
from tests.planted import DOCUMENT, TITLE, everywhere, released
from tests.services import mlflow

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]  # the server may take half of it to start on a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an MLflow, and its folder."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow(folder) as uri:
        yield uri, folder


@pytest.fixture
def client(server, planted, monkeypatch):
    """A client of it, which shows the planted release."""
    monkeypatch.setenv("RATCHET_MLFLOW_URI", server[0])
    call("reconcile")
    bound_mlflow()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server[0])
    yield client
    client.delete_registered_model("release")


def removed_for_good(server, run):
    """Do what the place's text says: `mlflow gc`, where MLflow runs."""
    uri, folder = server
    where = [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    command = warm.command("-m", "mlflow", "gc", "--run-ids", run, *where)
    subprocess.run(command, env=environment({"MLFLOW_TRACKING_URI": uri}), check=True, capture_output=True)


def test_mlflow_forgets_too(planted, home, server, client):
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
    client.log_param(version.run_id, "note", TITLE)
    told = f"MLflow .*a param of its run, which only `mlflow gc --run-ids {version.run_id}` deletes for good"
    for _ in range(2):
        with pytest.raises(TryAgain, match=told):
            call("erase", kind="document", subject=DOCUMENT, why="ticket")
    removed_for_good(server, version.run_id)
    assert call("erase", kind="document", subject=DOCUMENT, why="ticket").finished
    assert everywhere(server[1] / "artifacts", (DOCUMENT, TITLE)) == []
    assert everywhere(home, (DOCUMENT, TITLE)) == []


def test_only_this_stores_versions_are_searched_also_those_without_a_run(planted, client):
    def made(store):
        tags, text = {"store": store, "note": TITLE}, f"best on {TITLE}"
        return client.create_model_version("release", "s3://team-x/model", tags=tags, description=text, await_creation_for=0)

    theirs, ours = made("0" * 64), made(planted.journal.identity)
    client.set_tag(client.search_model_versions(f"name='release' and tags.release='{planted.release}'")[0].run_id, "n", TITLE)

    def holds(body):
        return TITLE.encode() in body

    places = found(open_store(), holds)
    assert {f"version {ours.version}: description", f"version {ours.version}: tag note"} <= set(places)
    assert [place for place in places if place.startswith(f"version {theirs.version}:")] == []
    erase(open_store(), holds)
    assert found(open_store(), holds) == []
    kept = client.get_model_version("release", theirs.version)
    assert (kept.tags["note"], kept.description) == (TITLE, f"best on {TITLE}")


def test_a_tag_of_a_run_that_was_deleted_is_told_with_the_way_out(planted, client):
    (version,) = client.search_model_versions("name='release'")
    client.set_tag(version.run_id, "note", TITLE)
    client.delete_run(version.run_id)

    def tagged(body):
        return body == TITLE.encode()

    place = (
        f"version {version.version}: tag note of its run, which only `mlflow gc --run-ids {version.run_id}` deletes for good"
    )
    assert found(open_store(), tagged) == [place]
    erase(open_store(), tagged)
    assert found(open_store(), tagged) == [place]
