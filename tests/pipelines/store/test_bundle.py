"""A release as one file: verified and served without the store, taken into another one, and refused where it is not whole."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.errors import CorruptArtifact, InputError, NewerVersion
from pipelines.store.artifacts import find
from pipelines.store.bundle import read_card
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from tests.conftest import call
from tests.images.serve.server import running_server


@pytest.fixture
def bundle(planted, tmp_path):
    return Path(call("export_release", release="champion", file=str(tmp_path / "r.bundle")).file)


@pytest.fixture
def elsewhere(bundle, tmp_path, home, monkeypatch):
    """Another machine: the bundle, and nothing of the store."""
    shutil.rmtree(home)
    monkeypatch.setenv("RATCHET_STORE", f"bundle://{bundle}")
    return bundle


def rewritten(bundle, change, **members):
    """The bundle with another card, and with more members."""
    target = bundle.with_suffix(".other")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(target, "w") as other:
        card = json.loads(old.read("bundle.json"))
        change(card)
        other.writestr("bundle.json", json.dumps(card))
        for name in old.namelist()[1:]:
            other.writestr(name, old.read(name))
        for name, body in members.items():
            other.writestr(name, body)
    return target


def test_it_verifies_and_serves_without_the_store(elsewhere, planted, home):
    answer = call("verify", release="champion", answers=3)
    assert answer.release == planted.release
    assert len(answer.checks) == 7
    with running_server(home, RATCHET_STORE=f"bundle://{elsewhere}") as server:
        server.wait(lambda status: status["ready"])
        found = server.search("oak chair", k=3).json()
    assert (found["release"], len(found["results"])) == (planted.release, 3)


def test_a_bundle_is_held_to_an_audit_that_is_newer(bundle, planted, home, tmp_path, monkeypatch):
    Journal(open_store()).append("waive", "rule main", "written after the export of the bundle")
    kept = str(tmp_path / "kept.jsonl")
    call("audit", to=kept)
    shutil.rmtree(home)
    monkeypatch.setenv("RATCHET_STORE", f"bundle://{bundle}")
    told = call("verify", release="champion", answers=0, audit=kept).checks[0]
    assert "the first 2 are as in 1 export(s) of `audit`, with 1 more: this bundle is older" in told


def test_a_release_that_is_not_the_champion_is_served_from_its_bundle(planted, home, tmp_path):
    other = call("assemble", index=find(open_store(), "release", planted.release).inputs["index"]).release
    bundle = call("export_release", release=other, file=str(tmp_path / "other.bundle")).file
    assert Journal(Store(f"bundle://{bundle}", cache=tmp_path)).routing.champion == planted.release
    with running_server(home, RATCHET_STORE=f"bundle://{bundle}") as server:
        assert server.wait(lambda status: status["ready"])["champion"] == other


def test_import_keeps_the_ids_and_does_nothing_twice(elsewhere, planted, monkeypatch, home):
    monkeypatch.delenv("RATCHET_STORE")
    first = call("import_release", file=str(elsewhere))
    assert first.added == first.artifacts >= 8
    assert find(open_store(), "release", planted.release)
    assert Journal(open_store()).entries == []
    assert call("import_release", file=str(elsewhere)).added == 0
    assert call("verify", release=planted.release, answers=2).verdict


def test_a_bundle_is_only_read(elsewhere):
    store = open_store()
    for act in (
        lambda: store.write("results/a", b""),
        lambda: store.delete("journal/00000001.json"),
        lambda: store.create("a", b""),
    ):
        with pytest.raises(InputError, match="only read"):
            act()
    with pytest.raises(InputError, match="only read"):
        Journal(store).append("erase", "a", "why")


@pytest.mark.parametrize("part", [0, 0.001, 0.5, 0.999])
def test_a_bundle_that_is_cut_short(elsewhere, part, home, monkeypatch):
    body = elsewhere.read_bytes()
    elsewhere.write_bytes(body[: int(len(body) * part)])
    with pytest.raises(CorruptArtifact, match="export the release again"):
        open_store()
    monkeypatch.delenv("RATCHET_STORE")
    with pytest.raises(CorruptArtifact):
        call("import_release", file=str(elsewhere))
    assert list(open_store().listed("")) == []


def test_a_byte_that_was_changed(elsewhere, monkeypatch):
    body = bytearray(elsewhere.read_bytes())
    body[len(body) // 2] ^= 1
    elsewhere.write_bytes(body)
    with pytest.raises(InputError):
        call("verify", release="champion")
    monkeypatch.delenv("RATCHET_STORE")
    with pytest.raises(InputError):
        call("import_release", file=str(elsewhere))
    assert list(open_store().listed("")) == []


@pytest.mark.parametrize("change", [{"layout": 2}, {"signature": "x"}])
def test_a_bundle_of_a_newer_version_is_refused_before_anything_is_taken(bundle, change, tmp_path, monkeypatch, capsys):
    newer = rewritten(bundle, lambda card: card.update(change))
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path / "other"))
    assert main(["import_release", "--file", str(newer)]) == 2
    assert list(open_store().listed("")) == []
    monkeypatch.setenv("RATCHET_STORE", f"bundle://{newer}")
    assert main(["verify", "champion"]) == 2
    told = capsys.readouterr().err
    assert told.count("written by a newer version") == 2
    assert "upgrade" in told
    assert "Traceback" not in told
    assert list((tmp_path / "other").rglob("*.json")) == []


def test_bundles_of_others(bundle, tmp_path):
    with pytest.raises(NewerVersion, match="upgrade"):
        read_card(rewritten(bundle, lambda card: card.update(layout=2)))
    with pytest.raises(NewerVersion, match="upgrade"):
        read_card(rewritten(bundle, lambda card: card.update(signature="x")))
    for name in ("../outside", "/etc/passwd", "journal/../../x", "access/00000001.json"):
        with pytest.raises(CorruptArtifact, match="it has a member"):
            read_card(rewritten(bundle, lambda card: None, **{name: b"x"}))
    with pytest.raises(CorruptArtifact, match="names"):
        read_card(rewritten(bundle, lambda card: card["members"].pop()))
    (tmp_path / "text").write_text("no bundle")
    for path in (tmp_path / "text", tmp_path / "nowhere", tmp_path):
        with pytest.raises(CorruptArtifact, match="a whole file"):
            read_card(path)


def test_nothing_is_written_where_something_lies_or_nothing_can(planted, tmp_path, home):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(InputError, match="there already"):
        call("export_release", release="champion", file=str(taken))
    assert taken.read_text() == "mine"
    with pytest.raises(InputError, match="nowhere"):
        call("export_release", release="champion", file=str(tmp_path / "nowhere" / "r.bundle"))
    index = find(open_store(), "release", planted.release).inputs["index"]
    (home / "store/index" / index / "manifest.json").unlink()
    with pytest.raises(InputError, match="parts are missing"):
        call("export_release", release="champion", file=str(tmp_path / "r.bundle"))
    assert sorted(tmp_path.glob("*bundle*")) == []
