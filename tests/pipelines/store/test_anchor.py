"""The anchor: which champion no challenger may fall below, told by the journal and the verdicts that it names."""

import json

import pytest

from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from pipelines.store.releases import anchor_id


@pytest.fixture
def journal(home):
    return Journal(open_store())


def release(name):
    recipe = Recipe(kind="release", step="assemble", version=1, inputs={"name": name}, params={})
    return produce(open_store(), recipe, lambda folder: {}).id


def serve(journal, name, low=None, outcome="passed", action="deploy", rules=()):
    """A release that was promoted with this lower bound and deployed; none: without a verdict."""
    served, champion = release(name), journal.routing.champion
    verdict = None
    if low is not None:
        said = {"outcome": outcome, "low": low, "champion": champion or "", "rules": list(rules)}
        recipe = Recipe(kind="verdict", step="gate", version=3, inputs={"release": served}, params={"said": json.dumps(said)})
        verdict = produce(open_store(), recipe, lambda f: (f / "verdict.json").write_text(json.dumps(said)) and {}).id
        journal.append("promote", served, "test", Routing(champion=champion, challenger=served), verdict=verdict)
    journal.append(action, served, "test", Routing(champion=served))
    return served


def test_the_first_champion_is_the_anchor_until_one_is_better_beyond_chance(journal):
    assert anchor_id(journal) == ""
    first = serve(journal, "first")
    assert anchor_id(journal) == first
    serve(journal, "equal", low=-0.01)
    serve(journal, "at zero", low=0.0)
    assert anchor_id(journal) == first
    better = serve(journal, "better", low=0.001)
    assert anchor_id(journal) == better
    serve(journal, "equal again", low=-0.01)
    assert anchor_id(journal) == better


def test_a_release_that_a_person_let_pass_is_no_anchor(journal):
    first = serve(journal, "first")
    serve(journal, "waived", low=0.01, outcome="not comparable")
    assert anchor_id(journal) == first


def test_an_anchor_that_was_rolled_back_is_none(journal):
    first = serve(journal, "first")
    serve(journal, "better", low=0.01)
    serve(journal, "first", action="rollback")
    assert anchor_id(journal) == first


def test_an_anchor_that_is_no_longer_in_the_store_is_none(journal, home):
    serve(journal, "first")
    second = serve(journal, "second", low=-0.01)
    (home / "store" / "release" / release("first") / "manifest.json").unlink()
    assert anchor_id(journal) == second


def test_the_verdict_of_a_promotion_that_is_damaged_moves_nothing(journal, home):
    first = serve(journal, "first")
    better = serve(journal, "better", low=0.01)
    assert anchor_id(journal) == better
    entry = journal.latest("promote", to=better)
    (home / "store" / "verdict" / entry.verdict / "manifest.json").unlink()
    assert anchor_id(journal) == first


def test_a_pass_since_a_waiver_sets_the_main_rule_aside_moves_nothing(journal):
    first = serve(journal, "first")
    main = {"comparison": "champion", "severity": "blocks"}
    others = [{"comparison": "absolute", "severity": "blocks", "outcome": "passed"}, {**main, "outcome": "passed"}]
    serve(journal, "set aside", low=0.01, rules=[{**main, "outcome": "not comparable"}, *others])
    assert anchor_id(journal) == first
    better = serve(journal, "better", low=0.01, rules=[{**main, "outcome": "passed"}, {**others[0], "outcome": "rejected"}])
    assert anchor_id(journal) == better


def test_a_release_that_comes_back_was_better_still(journal):
    serve(journal, "first")
    better = serve(journal, "better", low=0.01)
    serve(journal, "equal", low=-0.01)
    assert serve(journal, "better", low=-0.005) == better
    assert anchor_id(journal) == better


def test_a_verdict_whose_manifest_is_damaged_moves_nothing_and_stops_nothing(journal, home):
    first = serve(journal, "first")
    better = serve(journal, "better", low=0.01)
    entry = journal.latest("promote", to=better)
    (home / "store" / "verdict" / entry.verdict / "manifest.json").write_text("{}")
    assert anchor_id(journal) == first
