"""`verify` holds what is stored to what can be derived, and finds whatever was changed behind its back."""

import json
import shutil

import pytest

from pipelines.errors import InputError
from pipelines.steps.evaluate_release import gate
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.tampering import TAMPERED, edit_last_entry, evidence, removed, replace_json


def test_a_release_is_what_it_says(planted, tmp_path):
    answer = call("verify", release="champion", answers=5, page=str(tmp_path / "page"))
    assert answer.release == planted.release
    names = [check.partition(":")[0] for check in answer.checks]
    assert names == ["journal", "recipes", "files", "parts", "measures", "verdict", "answers"]
    told = dict(check.split(": ", 1) for check in answer.checks)
    assert told["journal"].startswith("2 entries, ")
    assert "not seen without an audit of it (--audit FILE): another time, name or reason of the last one" in told["journal"]
    assert told["verdict"].startswith("3 rules of gate file default decide again: passed")
    assert told["answers"] == "5 of 61 evaluated queries answered again as they were judged"
    page = json.loads((tmp_path / "page/report.json").read_text())
    assert (page["verdict"], len(page["tables"][0]["rows"])) == ("passed", 7)
    assert (tmp_path / "page/report.html").stat().st_size > 1000


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_changed_is_found(what, planted, tmp_path):
    TAMPERED[what](open_store(), planted.release)
    with pytest.raises(InputError) as raised:
        call("verify", release=planted.release, answers=5, page=str(tmp_path / "page"))
    assert raised.value.exit_code == 2
    page = json.loads((tmp_path / "page/report.json").read_text())
    assert page["verdict"] == "failed"
    assert raised.value.given[:60] in page["sentence"]


def test_a_value_that_has_not_its_form_is_not_repeated(planted):
    replace_json(evidence(open_store(), planted.release, "verdict"), "gate_file.json", rules="ann@example.org")
    with pytest.raises(InputError, match=r"check verdict could not read a file \(ValidationError: .+ valid") as raised:
        call("verify", release=planted.release, answers=0)
    assert "ann@example.org" not in str(raised.value)


def test_a_release_that_was_not_judged_has_no_verdict(planted):
    parts = load_exactly(open_store(), "release", planted.release).inputs
    other = call("assemble", index=parts["index"]).release
    assert other != planted.release
    answer = call("verify", release=other)
    assert answer.verdict == ""
    assert [check for check in answer.checks if "no verdict is stored" in check]
    assert [check for check in answer.checks if "no answers are stored" in check]


def test_a_verdict_of_another_gate_is_not_decided_again(planted, monkeypatch):
    monkeypatch.setattr(gate, "VERSION", gate.VERSION + 1)
    checks = call("verify", release="champion", answers=0).checks
    assert f"verdict: passed; not decided again: by gate {gate.VERSION - 1}, today's is {gate.VERSION}" in checks


def test_a_challenger_whose_verdict_is_gone_is_not_verified(planted):
    journal = Journal(open_store())
    journal.append(
        "promote", planted.release, "by hand", Routing(champion=planted.release, challenger=planted.release), "0" * 20
    )
    with pytest.raises(InputError, match="verdict 0000"):
        call("verify", release="challenger")


def test_a_page_that_cannot_be_written(planted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--page"):
        call("verify", release="champion", answers=0, page=str(tmp_path / "file"))


UNHELD = {
    "its time": lambda store: edit_last_entry(store, at="2026-01-01T00:00:00Z"),
    "its name": lambda store: edit_last_entry(store, who="somebody else"),
    "its reason": lambda store: edit_last_entry(store, why="another reason"),
    "itself": lambda store: removed(store, "journal/00000002.json"),
}
"""What of the last entry follows from nothing that is stored."""


@pytest.mark.parametrize("what", UNHELD)
def test_the_last_entry_is_held_by_an_audit_that_is_kept_elsewhere(what, planted, home, tmp_path):
    kept = str(tmp_path / "kept.jsonl")
    audited = call("audit", to=kept)
    held = {"audit": kept, "seal": audited.seal}
    assert "the first 2 are as in 2 export(s) of `audit`, which end here" in journal_of(planted, **held)
    shutil.rmtree(home / "store/report" / audited.report)
    UNHELD[what](open_store())
    assert "not seen without an audit" in journal_of(planted), "and so it is not seen"
    with pytest.raises(InputError, match=r"journal entry 2 \(deploy to .*by --audit ") as raised:
        journal_of(planted, **held)
    assert raised.value.exit_code == 2


def journal_of(world, **how):
    return call("verify", release=world.release, answers=0, **how).checks[0]


def test_a_stored_audit_holds_the_last_entry_too_and_what_follows_is_newer(planted):
    call("audit")
    journal = Journal(open_store())
    journal.append("waive", "rule main", "for a test")
    assert "the first 2 are as in 1 export(s) of `audit`; the routes and" in journal_of(planted)
    removed(open_store(), "journal/00000003.json")
    edit_last_entry(open_store(), why="another reason")
    with pytest.raises(InputError, match=r"journal entry 2 .* is another now, by audit "):
        journal_of(planted)


def test_audits_that_can_not_be_used(planted, tmp_path):
    kept = tmp_path / "kept.jsonl"
    call("audit", to=str(kept))
    for how, message in (
        ({"audit": str(kept), "seal": "0" * 64}, "--seal 0000"),
        ({"seal": "0" * 64}, "pass --audit FILE"),
        ({"audit": str(tmp_path / "nowhere")}, "correct the path"),
    ):
        with pytest.raises(InputError, match=message):
            journal_of(planted, **how)
    kept.write_text(kept.read_text().replace("tester", "nobody", 1))
    with pytest.raises(InputError, match="whose line 1 does not have the seal"):
        journal_of(planted, audit=str(kept))
