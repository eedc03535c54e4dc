"""Environments: a release goes from one store to the next with its evidence, ids unchanged; each has its own journal."""

import json

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError
from pipelines.settings import settings
from pipelines.store.artifacts import load_exactly
from pipelines.store.gc import Garbage, artifacts, sweep
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.releases import _releases_once, releases  # noqa: F401


@pytest.fixture
def staging(releases, monkeypatch, tmp_path):  # noqa: F811
    """An environment on disk, without a release; says how to act in it."""
    monkeypatch.setenv(
        "RATCHET_ENVIRONMENTS", json.dumps({"staging": {"store": f"file://{tmp_path}/staging", "approval": False}})
    )
    return lambda: monkeypatch.setenv("RATCHET_ENVIRONMENT", "staging")


def test_a_release_is_copied_with_its_evidence_and_promoted_there(releases, staging):  # noqa: F811
    releases.deployed(releases.a)
    result = call("copy_release", to="staging")
    here, there = open_store(), open_store(settings("staging"))
    assert result.release == releases.a
    assert artifacts(there).keys() <= artifacts(here).keys()
    assert {result.verdict, releases.a, releases.evaluation(releases.a)} <= artifacts(there).keys()
    assert result.added == result.artifacts == len(artifacts(there))
    for artifact in artifacts(there).values():
        artifact.check_files()
        assert artifact.manifest == load_exactly(here, artifact.kind, artifact.id).manifest
    assert Journal(there).entries == [], "nothing is promoted by a copy"
    assert call("copy_release", to="staging").added == 0
    staging()
    call("promote", verdict=result.verdict, who="ada")
    call("deploy")
    assert [entry.action for entry in Journal(there).entries] == ["promote", "deploy"]
    assert len(Journal(here).entries) == 2
    assert Journal(there).identity != Journal(here).identity
    assert settings().mlflow_model == "release-staging"


def test_an_environment_rolls_back_alone(releases, staging):  # noqa: F811
    here = open_store()
    for release in (releases.a, releases.b):
        releases.deployed(release)
        call("copy_release", to="staging")
    staging()
    for release in (releases.a, releases.b):
        releases.deployed(release)
    assert call("rollback", why="staging alone").release == releases.a
    assert Journal(here).routing.champion == releases.b


def test_a_verdict_by_other_rules_than_the_environments_is_refused_there(releases, monkeypatch, tmp_path):  # noqa: F811
    strict = {"staging": {"store": f"file://{tmp_path}/staging", "gate_file": "full"}}
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps(strict))
    lax, full = (releases.verdict(releases.a, gate_file=name) for name in ("default", "full"))
    for verdict in (lax, full):
        call("copy_release", to="staging", verdict=verdict)
    monkeypatch.setenv("RATCHET_ENVIRONMENT", "staging")
    with pytest.raises(InputError, match=f"verdict {lax} by gate file full, whose rules are others.* --gate-file full`"):
        call("promote", verdict=lax)
    assert Journal(open_store()).entries == []
    assert call("promote", verdict=full).entry == 1


def test_what_did_not_pass_or_is_not_whole_goes_nowhere(releases, staging, capsys):  # noqa: F811
    with pytest.raises(InputError, match="no --verdict, and no champion"):
        call("copy_release", to="staging")
    with pytest.raises(InputError, match="rejected"):
        call("copy_release", to="staging", verdict=releases.verdict(releases.a, outcome="rejected"))
    releases.deployed(releases.a)
    index = load_exactly(open_store(), "index", load_exactly(open_store(), "release", releases.a).inputs["index"])
    sweep(open_store(), Garbage(artifacts=[index]))
    with pytest.raises(InputError, match=f"of which is gone: index {index.id}, which `index` makes from"):
        call("copy_release", to="staging")
    assert artifacts(open_store(settings("staging"))) == {}


def test_an_environment_without_the_corpus_promotes_nothing_until_it_is_copied_again(releases, staging):  # noqa: F811
    releases.deployed(releases.a)
    result = call("copy_release", to="staging")
    corpus = load_exactly(open_store(), "release", releases.a).inputs["corpus"]
    there = open_store(settings("staging"))
    (there.local / "corpus" / corpus / "manifest.json").unlink()
    with pytest.MonkeyPatch.context() as acting:
        acting.setenv("RATCHET_ENVIRONMENT", "staging")
        with pytest.raises(InputError, match=f"given corpus .?{corpus}"):
            call("evaluate", release=releases.a)
        with pytest.raises(InputError, match=f"given corpus .?{corpus}"):
            call("promote", verdict=result.verdict)
        assert Journal(there).entries == []
    assert call("copy_release", to="staging").added == 1
    with pytest.MonkeyPatch.context() as acting:
        acting.setenv("RATCHET_ENVIRONMENT", "staging")
        assert call("promote", verdict=result.verdict).release == releases.a


@pytest.mark.parametrize(
    ("environments", "told"),
    [
        ("", "none, since RATCHET_ENVIRONMENTS is not set"),
        ('{"prod": {"store": "file:///x"}}', "one of prod"),
        ('{"staging": {"store": "ftp://x"}}', "RATCHET_ENVIRONMENTS"),
        ('{"staging": {"stores": "file:///x"}}', "RATCHET_ENVIRONMENTS"),
        ('{"staging": {"store": "file:///x", "server_url": "http://ann:hush-hush@x"}}', "without a user name or password"),
        ('{"staging": {"store": "s3://ann:hush-hush@bucket/x"}}', "a store that has an @ in it"),
        ("[", "JSON"),
    ],
)
def test_environments_that_are_none_are_told(home, monkeypatch, capsys, environments, told):
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", environments)
    assert main(["copy_release", "--to", "staging"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "hush-hush" not in said
    assert "Traceback" not in said


def test_an_environment_that_is_this_store_is_refused(releases, monkeypatch):  # noqa: F811
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps({"here": {"store": settings().store_uri}}))
    with pytest.raises(InputError, match="another store than this one"):
        call("copy_release", to="here")
