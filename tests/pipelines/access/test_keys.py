"""The log of keys: what it keeps, who wins a race, and everything that ends a key."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.access import keys as keys_module
from pipelines.access.keys import KEY, KeyLog, entry_path, find
from pipelines.access.scopes import SCOPES
from pipelines.errors import CorruptArtifact, InputError, NewerVersion, TryAgain
from pipelines.store.objects import Store, open_store

SEARCH = ("search",)


@pytest.fixture
def store(home) -> Store:
    return open_store()


def test_a_key_is_found_by_its_text_alone_and_only_its_hash_is_kept(store, home):
    log = KeyLog(store)
    key, text = log.make("ann", SEARCH, 30, "a test")
    assert KEY.fullmatch(text)
    assert find(KeyLog(store).keys, text) == key
    another = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert KEY.fullmatch(another), "the id of a key with another secret"
    for wrong in (
        another,
        text[:-1],
        text + "x",
        text.upper(),
        text.replace("rk_", ""),
        "",
        "rk_",
        text.replace(key.id, "0" * 12),
        "é" * 60,
    ):
        assert find(log.keys, wrong) is None, wrong
    secret = KEY.fullmatch(text)[2]
    written = b"".join(path.read_bytes() for path in (home / "store").rglob("*") if path.is_file())
    assert secret.encode() not in written
    assert key.hash.encode() in written


def test_what_ends_a_key(store):
    log = KeyLog(store)
    revoked, _ = log.make("ann", SEARCH, 30, "a test")
    assert log.revoke(revoked.id, "lost").problem(time.time()) == "was revoked"
    assert log.keys[revoked.id].problem(revoked.made - 3600) == "was revoked", "at once, whatever the server's clock says"
    expiring, _ = log.make("ann", SEARCH, 30, "a test")
    log.expire(expiring.id, 60, "a contractor leaves")
    assert log.keys[expiring.id].problem(time.time()) == ""
    assert log.keys[expiring.id].problem(time.time() + 61) == "has expired"
    for act in (lambda: log.revoke(revoked.id, "again"), lambda: log.rotate(revoked.id, 30, 0, "again")):
        with pytest.raises(InputError, match="which was revoked"):
            act()


def test_a_rotation_keeps_owner_and_scopes_and_ends_the_key_before(store):
    log = KeyLog(store)
    before, before_text = log.make("ann", ("search", "events"), 30, "a test")
    after, text = log.rotate(before.id, 60, 120, "quarterly")
    assert (after.owner, after.scopes) == (before.owner, before.scopes)
    now = time.time()
    assert find(log.keys, before_text).problem(now) == find(log.keys, text).problem(now) == ""
    assert find(log.keys, before_text).problem(now + 121) == "has expired"
    assert find(log.keys, text).problem(now + 121) == ""
    assert KeyLog(store).keys == log.keys
    assert [(entry.act, entry.why) for entry in log.entries] == [("make", "a test"), ("rotate", "quarterly")]


def test_another_reader_sees_it_with_the_next_refresh(store):
    reader, writer = KeyLog(store), KeyLog(store)
    assert reader.refresh() is False
    key, text = writer.make("ann", SEARCH, 1, "a test")
    assert find(reader.keys, text) is None
    assert reader.refresh() is True
    assert find(reader.keys, text) == key
    writer.revoke(key.id, "lost")
    reader.refresh()
    assert find(reader.keys, text).problem(time.time()) == "was revoked"


def test_of_racing_writers_one_wins_and_nothing_is_lost(store):
    logs = [KeyLog(store) for _ in range(8)]

    def make(log):
        try:
            return log.make("ann", SEARCH, 1, "a race")
        except TryAgain:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(make, logs) if key]
    assert len(made) >= 1
    assert set(KeyLog(store).keys) == {key.id for key, _ in made}
    assert len(KeyLog(store).entries) == len(made)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda log: log.make("ann", (), 1, "x"), "scopes none"),
        (lambda log: log.make(" ", SEARCH, 1, "x"), "a key for nobody"),
        (lambda log: log.make("two\nlines", SEARCH, 1, "x"), "one line"),
        (lambda log: log.make("ann", ("search", "root"), 1, "x"), "scopes root"),
        (lambda log: log.make("ann", SEARCH, 0, "x"), "0 days"),
        (lambda log: log.make("ann", SEARCH, 401, "x"), "401 days"),
        (lambda log: log.make("ann", SEARCH, float("nan"), "x"), "nan days"),
        (lambda log: log.make("ann", SEARCH, 1, ""), "why ''"),
        (lambda log: log.make("ann", SEARCH, 1, "two\nlines"), "one line"),
        (lambda log: log.revoke("0" * 12, "x"), "key 000000000000"),
        (lambda log: log.revoke("rk_0123_secret", "x"), "no id, not shown here"),
    ],
)
def test_bad_input_writes_nothing(store, call, word):
    log = KeyLog(store)
    with pytest.raises(InputError, match=word):
        call(log)
    assert KeyLog(store).entries == []


def test_an_entry_that_was_changed_is_seen(store, home):
    log = KeyLog(store)
    key, _ = log.make("ann", SEARCH, 1, "a test")
    log.revoke(key.id, "lost")
    path = home / "store" / entry_path(1)
    path.write_text(path.read_text().replace('"search"', '"admin"'))
    with pytest.raises(CorruptArtifact, match="follows another entry"):
        KeyLog(store)
    path.write_text("{")
    with pytest.raises(CorruptArtifact):
        KeyLog(store)


def test_an_entry_of_a_newer_version_says_upgrade(store, home):
    log = KeyLog(store)
    key, _ = log.make("ann", ("search", "events"), 1, "a test")
    path = home / "store" / entry_path(1)
    path.write_text(path.read_text().replace('"events"', '"of-a-newer-version"'))
    assert KeyLog(store).keys[key.id].scopes == {"search"}, "its other scopes hold, and the log is still followed"
    path.write_text(path.read_text().replace('"make"', '"forget"'))
    with pytest.raises(NewerVersion, match="upgrade"):
        KeyLog(store)


def test_a_lost_response_is_a_success(store, monkeypatch):
    log = KeyLog(store)
    created = store.create
    monkeypatch.setattr(store, "create", lambda path, body: created(path, body) and False)
    key, _ = log.make("ann", SEARCH, 1, "a test")
    assert KeyLog(store).keys == {key.id: key}


def test_every_scope_has_a_meaning():
    from pipelines.access.scopes import MEANINGS

    assert list(MEANINGS) == list(SCOPES) == ["search", "embed", "events", "admin", "metrics"]


def test_an_unknown_id_takes_the_same_steps_as_a_wrong_secret(store, monkeypatch):
    """What is compared, and how often: the times themselves are measured by the proof."""
    log = KeyLog(store)
    _, text = log.make("ann", SEARCH, 1, "a test")
    compared = []
    real = keys_module.hmac.compare_digest
    monkeypatch.setattr(
        keys_module.hmac, "compare_digest", lambda one, other: compared.append((len(one), len(other))) or real(one, other)
    )
    for presented in (text, text[:-43] + "A" * 43, f"rk_{'0' * 12}_{'A' * 43}"):
        find(log.keys, presented)
    assert compared == [(64, 64)] * 3
    assert json.loads(store.read(entry_path(1)))["act"] == "make"
