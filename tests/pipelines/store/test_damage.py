"""Damage, strangers and broken stores: an error that names the file, the right exit code, nothing half-written."""

import json
import subprocess
import time

import pytest

from pipelines.__main__ import main
from pipelines.errors import CorruptArtifact, InputError, NewerVersion, TryAgain
from pipelines.store.artifacts import committed, find, load, produce
from pipelines.store.journal import Journal, Routing, entry_path
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import blob_path
from proofs.kill_points import build, recipe, whole
from tests.services import free_ports


@pytest.fixture
def store(home):
    return open_store()


def made(store, name="one"):
    return produce(store, recipe(name), lambda folder: build(folder, "kept"))


def blob(artifact, name="part-0.txt"):
    return artifact.store.local / blob_path(artifact.manifest.files[name])


def flip(path):
    body = bytearray(path.read_bytes())
    body[3] ^= 1
    path.write_bytes(body)


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.unlink()])
def test_a_damaged_file_is_named(store, damage):
    artifact = made(store)
    damage(blob(artifact))
    with pytest.raises(CorruptArtifact, match=f"report/{artifact.id}/part-0.txt"):
        load(store, "report", artifact.id).text("part-0.txt")


def test_damage_is_not_inherited_by_another_artifact(store):
    first = made(store)
    flip(blob(first))
    assert whole(made(store, "two")) == "kept"
    assert whole(first) == "kept"


def test_a_torn_manifest_and_that_of_another_are_refused(store):
    one, two = made(store), made(store, "two")
    manifests = [store.local / "report" / artifact.id / "manifest.json" for artifact in (one, two)]
    manifests[0].write_bytes(manifests[1].read_bytes())
    with pytest.raises(CorruptArtifact, match=f"report/{one.id}/manifest.json: it describes report {two.id}"):
        find(store, "report", one.id)
    manifests[1].write_bytes(manifests[1].read_bytes()[:-9])
    with pytest.raises(CorruptArtifact, match=f"report/{two.id}/manifest.json"):
        load(store, "report", two.id)


def test_what_a_killed_writer_left_is_no_artifact(store):
    artifact = made(store)
    folder = store.local / "report" / ("f" * 20)
    folder.mkdir()
    (folder / "manifest.json#1").write_text("torn")
    (store.local / "journal").mkdir()
    (store.local / "journal" / "00000001.json#1").write_text("torn")
    assert committed(store, "report") == [artifact.id]
    assert Journal(store).entries == []
    Journal(store).append("promote", "a" * 20, "why", Routing(challenger="a" * 20))


def journal_of(store, count):
    journal = Journal(store)
    for number in range(count):
        journal.append("promote", f"{number:020d}", "why", Routing(challenger=f"{number:020d}"))
    return journal


def change(store, entry, **values):
    path = store.local / entry_path(entry)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda store: (store.local / entry_path(3)).write_text("{torn"), "00000003.json: .*JSON"),
        (lambda store: (store.local / entry_path(3)).write_bytes(b"\xff\xfe"), "00000003.json"),
        (lambda store: change(store, 2, parent="0" * 64), "00000002.json: it follows another entry"),
        (lambda store: change(store, 2, n=5), "00000002.json: it follows another entry"),
        (lambda store: change(store, 1, why="another reason"), "00000002.json: it follows another entry"),
    ],
)
def test_an_entry_that_ratchet_did_not_write_after_the_one_before_is_not_followed(store, damage, message, capsys):
    journal_of(store, 2)
    damage(store)
    with pytest.raises(CorruptArtifact, match=message):
        Journal(store)
    assert main(["history"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_entry_of_a_newer_version_asks_for_an_upgrade(store, capsys):
    journal_of(store, 2)
    change(store, 2, friend="me")
    with pytest.raises(NewerVersion, match=r"00000002.json with field 'friend'.*next: upgrade"):
        Journal(store)
    assert main(["history"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_skipped_number_is_seen_before_it_can_be_taken_for_a_successor(store):
    journal = journal_of(store, 1)
    (store.local / entry_path(3)).write_bytes((store.local / entry_path(1)).read_bytes())
    with pytest.raises(CorruptArtifact, match=r"00000002.json: missing, but 00000003.json is there"):
        journal.append("promote", "b" * 20, "why", Routing(challenger="b" * 20))
    assert store.size(entry_path(2)) is None


def test_a_lost_answer_is_no_lost_race(store, monkeypatch):
    create = Store.create
    monkeypatch.setattr(Store, "create", lambda self, path, body: create(self, path, body) and False)
    assert Journal(store).append("promote", "a" * 20, "why", Routing(challenger="a" * 20)).n == 1


@pytest.mark.parametrize("uri", ["ftp://there/x", "relative/folder", "file://relative", "s3://", "file:"])
def test_a_store_that_is_none_is_refused(monkeypatch, capsys, uri):
    monkeypatch.setenv("RATCHET_STORE", uri)
    assert main(["history"]) == 2
    assert "file:///folder, s3://bucket/prefix or bundle:///file" in capsys.readouterr().err


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of half a megabyte; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_and_can_be_tried_again(tiny_disk, home):
    store = Store(f"file://{tiny_disk}/store")
    (tiny_disk / "ballast").write_bytes(b"0" * 300_000)
    with pytest.raises(TryAgain, match="has room"):
        made(store)
    assert committed(store, "report") == []
    (tiny_disk / "ballast").unlink()
    (tiny_disk / "store" / "blobs").mkdir(exist_ok=True)
    small = produce(store, recipe("small"), lambda folder: (folder / "a").write_text("a") and {})
    assert small.text("a") == "a"


def test_a_store_that_cannot_be_written_is_told(tiny_disk, monkeypatch, capsys, home):
    journal_of(Store(f"file://{tiny_disk}/store"), 1)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(InputError, match="a store that may be written"):
        made(Store(f"file://{tiny_disk}/store"))
    monkeypatch.setenv("RATCHET_STORE", f"file://{tiny_disk}/elsewhere")
    assert main(["history"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_s3_that_is_down_or_silent_is_tried_again_soon(monkeypatch, capsys):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("RATCHET_STORE", "s3://bucket/prefix")
    monkeypatch.setenv("RATCHET_S3_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    started = time.monotonic()
    assert main(["history"]) == 75
    assert time.monotonic() - started < 20
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the network" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "correct the credentials"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "correct the credentials"),
        ({"RATCHET_STORE": "s3://no-such-bucket"}, "create the bucket"),
        ({"RATCHET_S3_ENDPOINT": "127.0.0.1:9"}, "a URL such as"),
    ],
)
def test_an_s3_that_refuses_is_not_tried_again(s3, monkeypatch, capsys, changes, said):
    bucket = f"b{time.time_ns()}"
    for name, value in {**s3.environment, "RATCHET_STORE": s3.create_bucket(bucket), **changes}.items():
        monkeypatch.setenv(name, value)
    assert main(["history"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_the_cache_of_s3_is_mended_and_missing_files_are_named(s3, monkeypatch, home):
    for name, value in {**s3.environment, "RATCHET_STORE": s3.create_bucket(f"b{time.time_ns()}")}.items():
        monkeypatch.setenv(name, value)
    store = open_store()
    artifact = made(store)
    flip(artifact.path("part-0.txt"))
    assert whole(artifact) == "kept"
    store.write(blob_path(artifact.manifest.files["part-2.txt"]), b"damaged")
    artifact.path("part-2.txt").unlink()
    with pytest.raises(CorruptArtifact, match=f"report/{artifact.id}/part-2.txt at s3://"):
        artifact.text("part-2.txt")
