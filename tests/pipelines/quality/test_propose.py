"""Proposals of a profile: true of what was profiled, and nothing that counts."""

import subprocess
import sys

import pytest
import yaml

from pipelines.errors import InputError
from pipelines.quality.suite import read_suite
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.pipelines.quality.conftest import DAY, HOSTILE, document, sound

QUIET = {"on": DAY, "personal": 0}


def results(report):
    return load(open_store(), "report", report).json("checks.json")["checks"]


@pytest.fixture
def rich(corpus_of):
    """A corpus with everything that a profile looks at."""
    given = sound()
    given["documents"] += [document(100 + number, segment=text, title=None) for number, text in enumerate(HOSTILE)]
    given["documents"] += [
        {"id": "short", "text": "x"},
        {"id": "german", "text": "Die Katze sitzt auf dem Dach und schaut in den Garten."},
    ]
    interactions = [{"user": "u0", "document": "d0", "time": 5, "value": number / 2} for number in range(10)]
    return corpus_of(**given, interactions=interactions, users=[{"id": "u0", "fields": {"age": "7"}}])


def test_each_proposal_is_true_of_its_corpus_and_none_counts(rich, tmp_path):
    path = tmp_path / "suite.yaml"
    proposed = call("propose", corpus=rich, suite=str(path))
    assert proposed.proposed == 15
    listed = yaml.safe_load(path.read_text())
    assert listed["extends"] == "default"
    for check in (check for checks in listed["checks"].values() for check in checks):
        assert check["reviewed"] is False
        assert check["observed"]
        assert check["why"]
    plain, beside = (call("check", corpus=rich, suite=suite, **QUIET) for suite in ("default", str(path)))
    assert (beside.proposed, beside.failed, beside.warned) == (15, plain.failed, plain.warned)
    assert "15 proposals waiting for review and not counted" in beside.sentence
    waiting = [one for one in results(beside.report) if one["status"] == "proposed"]
    assert [one for one in waiting if one["why_not"] != "would pass"] == []


def test_a_proposal_counts_once_somebody_stands_for_it(rich, corpus_of, tmp_path):
    path = tmp_path / "suite.yaml"
    call("propose", corpus=rich, suite=str(path))
    other = corpus_of(**{**sound(), "qrels": "q0 0 d0 7\n"})
    assert call("check", corpus=other, suite=str(path), previous="none", **QUIET).failed == 0
    listed = yaml.safe_load(path.read_text())
    (grades,) = [check for check in listed["checks"]["qrels"] if check["kwargs"].get("column") == "grade"]
    for review in ({}, {"reviewed": False}):
        grades.pop("reviewed", None)
        path.write_text(yaml.safe_dump({**listed, "name": f"{review}"}))
        grades |= review
        assert call("check", corpus=other, suite=str(path), previous="none", **QUIET).failed == 0
    del grades["reviewed"]
    path.write_text(yaml.safe_dump({**listed, "checks": {"qrels": [{**grades, "reviewed_by": "ann"}]}}))
    with pytest.raises(InputError, match=r"1 check failed: qrels\.grade"):
        call("check", corpus=other, suite=str(path), previous="none", **QUIET)


def test_reviewed_work_is_not_lost(rich, tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("checks: {}\n")
    with pytest.raises(InputError, match=r"which is there.*--overwrite true"):
        call("propose", corpus=rich, suite=str(path))
    assert path.read_text() == "checks: {}\n"
    call("propose", corpus=rich, suite=str(path), overwrite=True)
    assert len(read_suite(str(path)).checks) == 15 + len(read_suite("").checks)
    assert [one.name for one in tmp_path.iterdir() if one.name != "home"] == ["suite.yaml"]


def test_equal_corpora_give_equal_proposals(rich, tmp_path):
    for name in "ab":
        call("propose", corpus=rich, suite=str(tmp_path / name))
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_a_corpus_of_nothing(corpus_of, tmp_path):
    assert call("propose", corpus=corpus_of(), suite=str(tmp_path / "s.yaml")).proposed == 0
    read_suite(str(tmp_path / "s.yaml"))


def test_where_nothing_can_be_written(rich, tmp_path):
    for path in (tmp_path / "no" / "suite.yaml", tmp_path):
        with pytest.raises((InputError, OSError)):
            call("propose", corpus=rich, suite=str(path))


MEMORY = """
import json, resource, sys, tempfile
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from pipelines.quality.examination import counts_of, lengths_of, stage
from pipelines.quality.profile import proposed_suite
count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "documents.jsonl"
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"id": f"d{number}", "text": f"{number} a lamp for the desk " * 4, "title": "lamp"}) + "\\n")
    (Path(folder) / "qrels.txt").write_text("".join(f"q{number} 0 d{number} 1\\n" for number in range(count)))
    manifest = SimpleNamespace(files=("documents.jsonl", "qrels.txt"), provenance={"at": "2026-03-10T00:00:00Z"})
    corpus = SimpleNamespace(manifest=manifest, path=lambda name: Path(folder) / name, id="x" * 20)
    staged = stage(Path(folder) / "staging.db", date(2026, 3, 10), corpus)
    assert counts_of(staged)["documents"] == count
    proposed_suite(staged.db, corpus.id)
    staged.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_corpus():
    """Ten times the rows, at most a fifth more memory."""
    small, large = (
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY, count], cwd=PROJECT, capture_output=True, text=True, check=True
            ).stdout
        )
        for count in ("5000", "50000")
    )
    assert large <= 1.2 * small, (small, large)
