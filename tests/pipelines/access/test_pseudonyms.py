"""Keys of pseudonyms: rotation, what can still be told, and what can not."""

import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.access.pseudonyms import UserKeys, rotate
from pipelines.errors import InputError


def test_a_user_keeps_a_pseudonym_until_the_key_rotates(tmp_path):
    path = tmp_path / "users.json"
    first = rotate(path, 30)
    keys = UserKeys(path)
    before = keys.pseudonym("ann@example.org")
    assert before == keys.pseudonym("ann@example.org") != keys.pseudonym("bob")
    assert before.startswith(f"{first.id}.")
    assert "ann" not in before
    assert keys.pseudonym("") == ""
    second = rotate(path, 30)
    keys.refresh()
    after = keys.pseudonym("ann@example.org")
    assert after.startswith(f"{second.id}.")
    assert after.split(".")[1] != before.split(".")[1]
    assert keys.pseudonyms("ann@example.org") == {first.id: before, second.id: after}


def test_a_key_that_has_expired_tells_nothing_and_is_deleted(tmp_path, monkeypatch):
    path = tmp_path / "users.json"
    first = rotate(path, 1)
    rotate(path, 30)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * 86_400)
    keys = UserKeys(path)
    assert first.id not in keys.pseudonyms("ann")
    third = rotate(path, 30)
    assert first.secret not in path.read_text()
    assert [key["id"] for key in json.loads(path.read_text())["keys"]][-1] == third.id
    monkeypatch.setattr(time, "time", lambda: now + 90 * 86_400)
    assert UserKeys(path).pseudonym("ann") == "", "without a valid key nobody is named"


def test_the_file_is_for_one_account(tmp_path):
    path = tmp_path / "users.json"
    rotate(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["users.json"], "no second file is left behind"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": [{"id": "u1"}]}',
        '{"keys": [{"id": "u1", "secret": "x", "made": 1, "expires": 2}]}',
        '{"keys": [{"id": "u1", "secret": "0123456789012345678901234567890123456789", "made": 1, "expires": "2027-01-01"}]}',
    ],
)
def test_what_is_no_file_of_keys(tmp_path, body):
    path = tmp_path / "users.json"
    path.write_text(body)
    with pytest.raises(InputError, match="no file of user keys"):
        UserKeys(path)
    with pytest.raises(InputError, match="no file of user keys"):
        rotate(path, 1)
    assert path.read_text() == body, "a file that is not ours is left as it is"


def test_of_rotations_at_once_none_is_lost(tmp_path):
    path = tmp_path / "users.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: rotate(path, 30), range(16)))
    assert {key.secret for key in UserKeys(path).keys} == {key.secret for key in made}


def test_who_makes_pseudonyms_is_told_that_all_keys_have_expired(tmp_path, monkeypatch):
    path = tmp_path / "users.json"
    rotate(path, 1)
    keys = UserKeys(path)
    keys.refresh_valid()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * 86_400)
    with pytest.raises(InputError, match="all expired"):
        keys.refresh_valid()


def test_a_file_that_cannot_be_written_is_no_traceback_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="servers' account"):
        rotate(tmp_path / "file/users.json", 1)
    path = tmp_path / "users.json"
    first = rotate(path, 1)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="No space left"):
        rotate(path, 1)
    assert [key.id for key in UserKeys(path).keys] == [first.id]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "users.json"]


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="users rotate"):
        UserKeys(tmp_path / "nothing")
    for days in (0, -1, float("nan"), 5000):
        with pytest.raises(InputError, match="days"):
            rotate(tmp_path / "users.json", days)
    assert list(tmp_path.iterdir()) == []
