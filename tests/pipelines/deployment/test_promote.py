"""promote: only a release that passed against the champion of today becomes the challenger."""

import pytest

from pipelines.__main__ import main
from pipelines.errors import CorruptArtifact, InputError, NothingToDo, TryAgain
from pipelines.gates import gate_file as gate_files
from pipelines.gates.staleness import why_stale
from pipelines.steps.evaluate_release import evaluate, gate
from pipelines.steps.promote_release import promote as step
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import blob_path
from tests.conftest import call

GATE_VERSION = gate.VERSION


def test_a_passed_release_becomes_challenger_with_the_verdicts_sentence(releases):
    verdict = releases.verdict(releases.a, sentence="passed: no champion yet")
    result = call("promote", verdict=verdict[:8], who="ada")
    (entry,) = releases.journal.entries
    assert (result.release, result.entry, result.changed, result.verdict) == (releases.a, 1, True, verdict)
    assert (entry.who, entry.why, entry.to, entry.from_, entry.verdict) == (
        "ada",
        "passed: no champion yet",
        releases.a,
        None,
        verdict,
    )
    assert entry.routing == Routing(champion=None, challenger=releases.a)


def test_promoting_twice_changes_nothing(releases):
    verdict = releases.verdict(releases.a)
    first = call("promote", verdict=verdict)
    again = call("promote", verdict=verdict)
    assert (again.changed, again.entry, again.release) == (False, first.entry, releases.a)
    call("deploy")
    champion = call("promote", verdict=verdict)
    assert (champion.changed, champion.entry) == (False, 2)
    assert len(releases.journal.entries) == 2


@pytest.mark.parametrize("outcome", ["rejected", "undecided", "not run"])
def test_a_verdict_that_did_not_pass_is_refused(releases, capsys, outcome):
    verdict = releases.verdict(releases.a, outcome=outcome, sentence=f"{outcome}: nDCG@10 fell by 0.031")
    assert main(["promote", "--verdict", verdict]) == 2
    told = capsys.readouterr().err
    assert outcome in told
    assert "nDCG@10 fell by 0.031" in told
    assert "Traceback" not in told
    assert releases.journal.entries == []


def test_a_stale_verdict_is_refused(releases):
    stale = releases.verdict(releases.b)
    releases.deployed(releases.a)
    with pytest.raises(InputError, match=f"against champion none; expected one against {releases.a}"):
        call("promote", verdict=stale)
    assert len(releases.journal.entries) == 2


RULES = """
name: shop
description: What a release of the shop must pass.
rules:
  - {name: quality, measure: nDCG@10, comparison: champion, margin: MARGIN}
"""


def test_a_verdict_by_code_of_before_is_refused_with_the_command_that_judges_again(releases, monkeypatch, capsys):
    verdict = releases.verdict(releases.a)
    with monkeypatch.context() as later:
        later.setattr(gate, "VERSION", 99)
        assert main(["promote", "--verdict", verdict]) == 2
        told = capsys.readouterr().err
        assert f"by gate {GATE_VERSION}, today's is 99" in told
        assert f"run `python -m pipelines gate --evaluation {releases.evaluation(releases.a)}`, or pass --waive true" in told
    with monkeypatch.context() as later:
        later.setattr(evaluate, "VERSION", 98)
        assert main(["promote", "--verdict", verdict]) == 2
        told = capsys.readouterr().err
        assert "today's is 98" in told
        assert f"run `python -m pipelines evaluate --release {releases.a}`, and `gate` with what it gives" in told
    assert "Traceback" not in told
    assert releases.journal.entries == []
    assert call("promote", verdict=verdict).entry == 1


def test_a_verdict_by_rules_of_before_is_refused(releases, tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text(RULES.replace("MARGIN", "0.02"))
    verdict = releases.verdict(releases.a, gate_file=str(file))
    file.write_text("# a comment decides nothing" + RULES.replace("MARGIN", "0.02"))
    assert why_stale(load(open_store(), "verdict", verdict)) == ("", "")
    file.write_text(RULES.replace("MARGIN", "0.01"))
    with pytest.raises(InputError, match=f"by gate file {file}, whose rules are others today; .* --gate-file {file}`"):
        call("promote", verdict=verdict)
    with pytest.raises(InputError, match="by gate file full, whose rules are others today"):
        call("promote", verdict=verdict, gate_file="full")
    with pytest.raises(InputError, match="no-such"):
        call("promote", verdict=verdict, gate_file="no-such")
    assert releases.journal.entries == []
    (tmp_path / "moved.yaml").write_text(RULES.replace("MARGIN", "0.02"))
    assert call("promote", verdict=verdict, gate_file=str(tmp_path / "moved.yaml")).entry == 1


def test_rules_that_are_not_here_are_not_compared_and_a_shipped_file_is(releases, tmp_path, monkeypatch):
    file = tmp_path / "shop.yaml"
    file.write_text(RULES.replace("MARGIN", "0.02"))
    elsewhere, shipped = (releases.verdict(releases.a, gate_file=name) for name in (str(file), "default"))
    file.unlink()
    assert why_stale(load(open_store(), "verdict", elsewhere)) == ("", ""), "a pod has no file of another machine"
    assert why_stale(load(open_store(), "verdict", shipped)) == ("", "")
    monkeypatch.setattr(gate_files, "FOLDER", tmp_path)
    (tmp_path / "default.yaml").write_text(RULES.replace("MARGIN", "0.02"))
    told, command = why_stale(load(open_store(), "verdict", shipped))
    assert told == "gate file default, whose rules are others today"
    assert command.endswith("--gate-file default`")


def test_a_stale_pass_can_be_waived_by_name_and_a_rejection_cannot(releases, monkeypatch):
    passed, rejected = releases.verdict(releases.a), releases.verdict(releases.b, outcome="rejected")
    with pytest.raises(InputError, match="a verdict that could not decide"):
        call("promote", verdict=passed, waive=True, who="ada", why="it is urgent")
    monkeypatch.setattr(gate, "VERSION", 99)
    with pytest.raises(InputError, match="both, for the journal"):
        call("promote", verdict=passed, waive=True, who="ada")
    with pytest.raises(InputError, match="a verdict that could not decide"):
        call("promote", verdict=rejected, waive=True, who="ada", why="it is urgent")
    call("promote", verdict=passed, waive=True, who="ada", why="it is urgent", until="")
    (entry,) = releases.journal.entries
    assert entry.who == "ada"
    assert entry.why.startswith(f"waived, stale (gate {GATE_VERSION}, today's is 99): passed: ")
    assert entry.why.endswith("]: it is urgent")
    assert call("promote", verdict=passed, waive=True, who="ada", why="again").changed is False


def test_what_is_promoted_already_stays_so_when_the_code_moves(releases, monkeypatch):
    verdict = releases.verdict(releases.a)
    call("promote", verdict=verdict)
    monkeypatch.setattr(gate, "VERSION", 99)
    assert call("promote", verdict=verdict).changed is False
    assert len(releases.journal.entries) == 1


def test_a_verdict_that_speaks_of_another_release_is_refused(releases):
    verdict = releases.verdict(releases.a)
    store = open_store()
    manifest = store.local / "verdict" / verdict / "manifest.json"
    artifact = load(store, "verdict", verdict)
    moved = artifact.manifest.recipe.model_copy(update={"inputs": {"release": releases.b}})
    manifest.write_text(artifact.manifest.model_copy(update={"recipe": moved, "id": moved.id}).model_dump_json())
    manifest.parent.rename(manifest.parent.parent / moved.id)
    with pytest.raises(CorruptArtifact, match=f"on release {releases.a}"):
        call("promote", verdict=moved.id)


@pytest.mark.parametrize("part", ["encoder", "embeddings", "index", "corpus"])
def test_a_release_with_a_missing_part_is_refused(releases, part):
    verdict = releases.verdict(releases.a)
    store = open_store()
    release = load(store, "release", releases.a)
    (store.local / part / release.inputs[part] / "manifest.json").unlink()
    with pytest.raises(InputError, match=f"given {part} {release.inputs[part]}"):
        call("promote", verdict=verdict)
    assert releases.journal.entries == []


def test_a_release_with_a_missing_file_is_refused(releases):
    verdict = releases.verdict(releases.a)
    store = open_store()
    index = load(store, "index", load(store, "release", releases.a).inputs["index"])
    (store.local / blob_path(index.manifest.files["index.faiss"])).unlink()
    with pytest.raises(CorruptArtifact, match=f"index/{index.id}/index.faiss"):
        call("promote", verdict=verdict)


def test_a_release_that_was_rolled_back_waits_for_a_person(releases, capsys):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    call("rollback", why="clicks fell", who="bob")
    verdict = releases.verdict(releases.b, releases.a)
    assert main(["promote", "--verdict", verdict]) == 4
    assert "rolled back by bob (entry 5: clicks fell)" in capsys.readouterr().err
    with pytest.raises(NothingToDo):
        call("promote", verdict=verdict)
    assert call("promote", verdict=verdict, again=True).entry == 6
    assert call("promote", verdict=verdict).changed is False


def test_a_lost_race_is_tried_again(releases, monkeypatch):
    verdict = releases.verdict(releases.a)

    def slow(store):
        journal = Journal(store)
        Journal(store).append("promote", releases.b, "was faster", Routing(challenger=releases.b))
        return journal

    monkeypatch.setattr(step, "Journal", slow)
    with pytest.raises(TryAgain, match="entry 1"):
        call("promote", verdict=verdict)
    assert [entry.to for entry in releases.journal.entries] == [releases.b]


@pytest.mark.parametrize("verdict", ["", "zz", "0" * 20, "../journal"])
def test_an_unknown_verdict_is_one_sentence(releases, capsys, verdict):
    assert main(["promote", "--verdict", verdict]) == 2
    assert "Traceback" not in capsys.readouterr().err


def in_run(monkeypatch, run):
    monkeypatch.setenv("RATCHET_DAG", "promote_release")
    monkeypatch.setenv("RATCHET_DAG_RUN", run)


def test_a_promotion_that_died_before_its_event_still_asks_for_a_deployment(releases, monkeypatch):
    verdict = releases.verdict(releases.a)
    in_run(monkeypatch, "manual__1")
    first = call("promote", verdict=verdict)
    retried = call("promote", verdict=verdict)
    in_run(monkeypatch, "manual__2")
    rerun = call("promote", verdict=verdict)
    assert [one.challenger for one in (first, retried, rerun)] == [True, True, True]
    assert [one.changed for one in (first, retried, rerun)] == [True, True, False]
    assert len(releases.journal.entries) == 1


def test_a_sitting_champion_asks_for_no_deployment(releases, monkeypatch):
    verdict = releases.verdict(releases.a)
    in_run(monkeypatch, "manual__1")
    call("promote", verdict=verdict)
    call("deploy")
    for run in ("manual__1", "manual__2"):
        in_run(monkeypatch, run)
        again = call("promote", verdict=verdict)
        assert (again.changed, again.challenger, again.entry) == (False, False, 2)


def test_a_retried_promotion_does_not_displace_a_younger_challenger(releases, monkeypatch):
    verdict = releases.verdict(releases.a)
    in_run(monkeypatch, "manual__1")
    call("promote", verdict=verdict)
    in_run(monkeypatch, "manual__2")
    releases.promoted(releases.b)
    in_run(monkeypatch, "manual__1")
    again = call("promote", verdict=verdict)
    assert (again.entry, again.challenger) == (1, False)
    assert releases.journal.routing.challenger == releases.b
    assert len(releases.journal.entries) == 2
