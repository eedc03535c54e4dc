"""`verify` holds what is stored to what can be derived, and finds whatever was changed behind its back."""

import json

import pytest

from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.tampering import TAMPERED


def test_a_release_is_what_it_says(planted, tmp_path):
    answer = call("verify", release="champion", answers=5, page=str(tmp_path / "page"))
    assert answer.release == planted.release
    names = [check.partition(":")[0] for check in answer.checks]
    assert names == ["journal", "recipes", "files", "parts", "measures", "verdict", "answers"]
    told = dict(check.split(": ", 1) for check in answer.checks)
    assert told["journal"].startswith("2 entries, ")
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


def test_a_release_that_was_not_judged_has_no_verdict(planted):
    parts = load_exactly(open_store(), "release", planted.release).inputs
    other = call("assemble", index=parts["index"]).release
    assert other != planted.release
    answer = call("verify", release=other)
    assert answer.verdict == ""
    assert [check for check in answer.checks if "no verdict is stored" in check]
    assert [check for check in answer.checks if "no answers are stored" in check]


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
