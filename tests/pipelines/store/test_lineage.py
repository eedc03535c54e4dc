"""Each commit tells its lineage once, under the task that asked for it; lineage never breaks a commit."""

import json

import pytest

from pipelines.store.artifacts import produce
from pipelines.store.objects import Store
from pipelines.store.recipes import Recipe

PARENT = "01234567-89ab-7cde-8f01-23456789abcd"


def make(store, name="a"):
    recipe = Recipe(kind="report", step="check", version=1, inputs={"corpus": "c0ffee", "none": ""}, params={"name": name})
    return produce(store, recipe, lambda folder: {"written": (folder / "text").write_text(name)})


def told(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "lineage").glob("*.json"))]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"ratchet/ingest_corpus.ingest/{PARENT}")
    return Store(f"file://{tmp_path}/store")


def test_a_commit_tells_inputs_output_and_parent(store, tmp_path):
    made = make(store)
    (event,) = told(tmp_path / "store")
    assert event["eventType"] == "COMPLETE"
    assert event["job"] == {"facets": {}, "name": "check", "namespace": "ratchet"}
    assert [one["name"] for one in event["inputs"]] == ["c0ffee"]
    assert [(one["name"], one["namespace"]) for one in event["outputs"]] == [(made.id, store.uri)]
    parent = event["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (PARENT, "ingest_corpus.ingest")


def test_found_work_tells_nothing(store, tmp_path):
    make(store)
    make(store)
    assert len(told(tmp_path / "store")) == 1


def test_no_parent_outside_airflow(store, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENLINEAGE_PARENT_ID")
    make(store)
    assert "parent" not in told(tmp_path / "store")[0]["run"]["facets"]


@pytest.mark.parametrize(
    "asked",
    [
        {"OPENLINEAGE_URL": "http://127.0.0.1:9"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "no such thing"},
        {"OPENLINEAGE__TRANSPORT__TYPE": "file", "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": "/nowhere/at/all"},
    ],
)
def test_a_transport_of_ones_own_is_taken_and_its_failure_is_a_warning(store, tmp_path, monkeypatch, capfd, asked):
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    assert make(store).id
    assert "lineage was not told" in "".join(capfd.readouterr())
    assert told(tmp_path / "store") == []


def test_turned_off(store, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    make(store)
    assert told(tmp_path / "store") == []


def test_into_a_bucket(s3, tmp_path, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = Store(f"{s3.create_bucket('lineage')}/store", s3.endpoint, tmp_path / "cache")
    made = make(store)
    (name,) = store.names("lineage/")
    assert json.loads(store.read(f"lineage/{name}"))["outputs"][0]["name"] == made.id
