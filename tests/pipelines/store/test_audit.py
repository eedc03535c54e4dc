"""The audit: what is altered or removed in the journal or in an export is found, and who is outside sees pseudonyms."""

import json
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.access.pseudonyms import rotate
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing, entry_path
from pipelines.store.objects import open_store
from tests.conftest import call

NAMES = ("ada", "bob", "ada", "eve")


@pytest.fixture
def journal(home):
    """Four entries by three people."""
    journal = Journal(open_store())
    for number, who in enumerate(NAMES):
        journal.append(
            "deploy",
            f"{number}" * 20,
            f"{who} asked bob, who writes to x@example.org",
            Routing(champion=f"{number}" * 20),
            who=who,
        )
    return journal


def export(**how):
    result = call("audit", **how)
    return result, load_exactly(open_store(), "report", result.report).text("audit.jsonl")


def test_an_export_has_who_when_why_and_verifies(journal, tmp_path, capsys):
    result, text = export(to=str(tmp_path / "audit.jsonl"))
    assert (result.entries, result.audits) == (4, 0)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["who"] for line in lines[:-1]] == list(NAMES)
    assert lines[3]["why"].startswith("eve asked bob")
    assert lines[2]["sha256"] == journal.entries[3].parent
    assert main(["verify_audit", "--file", str(tmp_path / "audit.jsonl"), "--seal", result.seal]) == 0
    assert call("audit").audits == 1, "the same journal again: the same export"
    journal.append("waive", "x", "y", who="ada")
    assert call("audit").audits == 1


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["altered", "removed"])
def test_an_entry_that_was_altered_or_removed_is_found(journal, tmp_path, capsys, number, how):
    """The last one too, of which the journal alone can't tell."""
    export(to=str(tmp_path / "kept.jsonl"))
    path = open_store().local / entry_path(number)
    if how == "removed":
        path.unlink()
    else:
        path.write_text(path.read_text().replace("asked", "told"))
    capsys.readouterr()
    assert main(["audit"]) == 2
    told = capsys.readouterr().err
    named = number if how == "removed" or number == 4 else number + 1  # the one that no longer follows
    assert f"entry {named} " in told or f"{named:08d}.json" in told
    assert "Traceback" not in told


def test_a_journal_that_was_written_anew_is_found_by_an_export_kept_elsewhere(journal, tmp_path, capsys):
    store = open_store()
    export(to=str(tmp_path / "kept.jsonl"))
    for folder in ("journal", "report"):
        for path in (store.local / folder).rglob("*.json"):
            path.unlink()
    forged = Journal(store)
    for number, who in enumerate(("ada", "mallory", "ada", "eve")):
        forged.append("deploy", f"{number}" * 20, "nothing to see", Routing(champion=f"{number}" * 20), who=who)
    assert main(["audit", "--against", str(tmp_path / "kept.jsonl")]) == 2
    assert "journal entry 1 (deploy" in capsys.readouterr().err


def altered(text):
    """The export with one thing changed, in many ways."""
    lines = text.splitlines()
    yield "a name", text.replace('"who": "bob"', '"who": "eve"', 1)
    yield "a reason", text.replace("ada asked", "ada told", 1)
    yield "a time", text.replace('"at": "20', '"at": "19', 1)
    yield "a release", text.replace("1" * 20, "7" * 20)
    for number in range(len(lines)):
        yield f"line {number + 1} removed", "\n".join(lines[:number] + lines[number + 1 :]) + "\n"
    yield "two swapped", "\n".join([lines[1], lines[0], *lines[2:]]) + "\n"
    yield "one twice", "\n".join([lines[0], *lines]) + "\n"
    yield "a count", text.replace('"entries": 4', '"entries": 3')
    yield "a seal", text.replace('"seal": "', '"seal": "f', 1)
    yield "cut short", text[: len(text) // 2]
    yield "nothing", ""
    yield "no JSON", "{\n" + text
    yield "a number that is none", text.replace('"n": 1', '"n": NaN', 1)


def test_every_change_of_an_export_is_found(journal, tmp_path):
    _, text = export()
    changes = list(altered(text))
    assert len(changes) >= 15
    for name, changed in changes:
        assert changed != text, name
        (tmp_path / "changed.jsonl").write_text(changed)
        with pytest.raises(InputError, match=r"changed\.jsonl, whose line \d+ "):
            call("verify_audit", file=str(tmp_path / "changed.jsonl"))


def test_an_export_that_was_sealed_anew_is_found_by_its_seal(journal, tmp_path):
    first, _ = export(to=str(tmp_path / "kept.jsonl"))
    journal.append("waive", "x", "y", who="ada")
    export(to=str(tmp_path / "other.jsonl"))
    with pytest.raises(InputError, match=f"--seal {first.seal}"):
        call("verify_audit", file=str(tmp_path / "other.jsonl"), seal=first.seal)


def test_outside_people_see_pseudonyms(journal, tmp_path, monkeypatch, capsys):
    assert main(["audit", "--pseudonyms", "true"]) == 2
    assert "users rotate" in capsys.readouterr().err
    monkeypatch.setenv("RATCHET_USER_KEYS_FILE", str(tmp_path / "keys.json"))
    key = rotate(tmp_path / "keys.json", 30)
    result, text = export(pseudonyms=True, to=str(tmp_path / "out.jsonl"))
    page = load_exactly(open_store(), "report", result.report).text("report.html")
    for secret in ("ada", "bob", "eve", "x@example.org"):
        assert f'"{secret}"' not in text
        assert f"{secret} " not in text
        assert f">{secret}<" not in page
    lines = [json.loads(line) for line in text.splitlines()][:-1]
    assert lines[0]["who"] == lines[2]["who"] != lines[1]["who"]
    assert lines[0]["who"].startswith(f"{key.id}.")
    assert lines[0]["why"] == f"{lines[0]['who']} asked {lines[1]['who']}, who writes to <EMAIL_ADDRESS>"
    assert call("verify_audit", file=str(tmp_path / "out.jsonl"), seal=result.seal).entries == 4
    assert call("audit").audits == 1, "the journal is compared with it as with any other"


@pytest.mark.parametrize("option", ["--against", "--file"])
def test_a_file_that_is_none_is_told(journal, capsys, option, tmp_path):
    step = "audit" if option == "--against" else "verify_audit"
    assert main([step, option, str(tmp_path / "nothing")]) == 2
    assert main([step, option, str(tmp_path)]) == 2
    Path(tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert main([step, option, str(tmp_path / "bytes")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_empty_journal_is_audited_too(home, tmp_path):
    result, text = export()
    assert (result.entries, len(text.splitlines())) == (0, 1)
