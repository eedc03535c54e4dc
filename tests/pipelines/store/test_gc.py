"""Garbage goes, what a release needs stays, and a commit at the same time loses nothing."""

import time
from contextlib import contextmanager

import pytest

from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import committed, find, produce
from pipelines.store.gc import garbage, put_back, sweep
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call

LATER = 10**12
"""Everything is older than this moment, and past its grace."""


@pytest.fixture
def store(home):
    return open_store()


def made(store, kind, name, content="", **inputs):
    recipe = Recipe(kind=kind, step="proof", version=1, inputs={"name": name, **inputs}, params={})
    return produce(store, recipe, lambda folder: (folder / "a.txt").write_text(content or name) and {})


def release(store, name):
    """A release and what it was made from: a file of its own, and one that all share."""
    corpus = made(store, "corpus", f"corpus-{name}")
    embedded = made(store, "embeddings", f"embeddings-{name}", content="shared", corpus=corpus.id)
    return made(store, "release", f"release-{name}", embeddings=embedded.id)


def deployed(store, names, **said):
    made_here = [release(store, name) for name in names]
    journal = Journal(store)
    for one in made_here:
        verdict = made(store, "verdict", f"verdict-{one.id}", release=one.id)
        journal.append("deploy", one.id, "proof", Routing(champion=one.id, **said), verdict=verdict.id, who="proof")
    return made_here


def of_all(store):
    return {name: artifact for kind in ("corpus", "embeddings", "release", "verdict", "shard", "report")
            for name in committed(store, kind) if (artifact := find(store, kind, name))}  # fmt: skip


def whole(store):
    return {name: artifact.text("a.txt") for name, artifact in of_all(store).items()}


def test_the_last_three_champions_the_anchor_and_all_they_were_made_from_stay(store):
    releases = deployed(store, "abcde")
    stray = made(store, "shard", "stray")
    found = garbage(store, LATER, -LATER)
    gone = {artifact.id for artifact in found.artifacts}
    second = releases[1]
    verdict = made(store, "verdict", f"verdict-{second.id}", release=second.id).id
    corpus = made(store, "corpus", "corpus-b").id
    assert gone == {stray.id, second.id, corpus, second.inputs["embeddings"], verdict}, "the first champion is the anchor"
    assert len(found.files) == 1 + 3, "each one's own; the file that all share is named by those that stay"
    sweep(store, found)
    assert set(whole(store)) & gone == set()
    assert len(whole(store)) == 4 * 4


def test_what_the_journal_routed_to_lately_stays_and_whatever_is_young(store):
    releases = deployed(store, "abcde")
    assert garbage(store, time.time() - 60, -LATER).artifacts == []
    old = dict.fromkeys(whole(store), 0.0)
    assert old
    challenger = release(store, "challenger")
    Journal(store).append(
        "promote", challenger.id, "proof", Routing(champion=releases[4].id, challenger=challenger.id), who="p"
    )
    gone = {artifact.id for artifact in garbage(store, LATER, -LATER).artifacts}
    assert challenger.id not in gone
    assert releases[1].id in gone


def test_where_a_rollback_returns_to_stays(store):
    a, *others = deployed(store, "abcde")
    journal = Journal(store)
    for target in (others[2], others[1], others[0]):
        journal.append("rollback", target.id, "proof", Routing(champion=target.id), who="proof")
    assert journal.previous_champion() == a.id
    assert a.id not in {artifact.id for artifact in garbage(store, LATER, -LATER).artifacts}


def test_the_step_says_what_would_go_and_takes_nothing_away(store):
    made(store, "shard", "young")
    store.write("checkpoints/abc/one", b"12345")
    answer = call("gc")
    assert (answer.dry_run, answer.artifacts, answer.notes) == (True, 0, 0)
    assert answer.sentence == "would take away 0 files, 0 notes: 0.0 MB"
    assert call("gc", dry_run=False).sentence == "took away 0 files, 0 notes: 0.0 MB"
    assert store.read("checkpoints/abc/one") == b"12345"


def test_counts_of_earlier_deployments_go_and_the_last_ones_stay(store):
    first, second = deployed(store, "ab")
    journal = Journal(store)
    for name in ("canary-one", "canary-two", "canary-two"):
        both = {"champion": first.id, "challenger": second.id, "split": {"name": name, "share": 0.1}}
        journal.append("stage" if journal.routing.split else "promote", second.id, "proof", Routing(**both), who="proof")
    entries = range(1, len(journal.entries) + 1)
    for entry in entries:
        store.write(f"counts/{entry:08d}/host-1.json", b"{}")
    assert garbage(store, time.time() - 60, 60).notes == []
    gone = [file.path for file in garbage(store, LATER, 60).notes]
    assert sorted(gone) == [f"counts/{entry:08d}/host-1.json" for entry in entries[:-2]]


def test_old_notes_go_and_young_ones_stay(store):
    store.write("checkpoints/abc/one", b"12345")
    store.write("results/dag/two.json", b"{}")
    assert garbage(store, time.time() - 60, 60).notes == []
    found = garbage(store, LATER, 60)
    assert (len(found.notes), found.bytes) == (2, 7)
    sweep(store, found)
    assert list(store.listed("checkpoints/")) == list(store.listed("results/")) == []


def test_a_file_without_an_artifact_has_its_grace(store):
    store.write(f"blobs/{'0' * 64}", b"of a commit under way")
    assert garbage(store, LATER, 60).files == []
    assert len(garbage(store, LATER, -LATER).files) == 1


def test_trash_is_kept_for_its_grace_then_emptied(store):
    made(store, "shard", "stray")
    sweep(store, garbage(store, LATER, -LATER))
    assert len(list(store.listed("trash/"))) == 2
    sweep(store, garbage(store, LATER, 60))
    assert len(list(store.listed("trash/"))) == 2
    sweep(store, garbage(store, LATER, -LATER))
    assert list(store.listed("trash/")) == []


def test_nothing_goes_while_a_manifest_cannot_be_read(store):
    torn = made(store, "shard", "torn")
    store.write(f"shard/{torn.id}/manifest.json", b"{")
    with pytest.raises(CorruptArtifact, match=f"shard/{torn.id}/manifest.json"):
        call("gc", dry_run=False)


def test_a_sweep_that_was_killed_is_mended_by_the_next(store):
    kept = made(store, "shard", "kept")
    path = f"blobs/{kept.manifest.files['a.txt'].sha256}"
    store.move(path, f"trash/1/{path}")
    assert put_back(store) == [path]
    assert kept.text("a.txt") == "kept"


@contextmanager
def interrupted(monkeypatch, point, action):
    """Before operation `point` of any store, `action` runs to its end; whether there were so many operations."""
    plain, passed, ran = Store.operation, iter(range(1_000_000)), []

    @contextmanager
    def operation(self, name, path):
        if not ran and next(passed) == point:
            ran.append(True)
            action()
        with plain(self, name, path):
            yield

    with monkeypatch.context() as patch:
        patch.setattr(Store, "operation", operation)
        yield ran


@pytest.mark.parametrize("outer", ["commit", "sweep"])
def test_a_commit_and_a_sweep_in_any_order_lose_nothing(home, monkeypatch, outer):
    """The content was a dead artifact's, so the commit finds its file there, and the sweep finds it unnamed."""
    for point in range(200):
        store = Store(f"file://{home}/{point}")
        made(store, "shard", "dead", content="same")
        found = garbage(store, LATER, -LATER)
        both = [lambda store=store: made(store, "report", "alive", content="same"), lambda s=store, f=found: sweep(s, f)]
        first, second = both if outer == "commit" else reversed(both)
        with interrupted(monkeypatch, point, second) as ran:
            first()
        if not ran:
            break
        alive = made(store, "report", "alive", content="same")
        assert (alive.found, alive.text("a.txt")) == (True, "same"), f"operation {point}"
    assert 5 <= point < 199
