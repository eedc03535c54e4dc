"""Waivers: who may let what pass, for how long, and what the journal says of it."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from pipelines.errors import InputError
from pipelines.gates.waivers import last_day, timed, waivers_in_force
from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call

TODAY = datetime.now(UTC).date()


def verdict(outcome, champion=""):
    said = {"outcome": outcome, "sentence": f"{outcome}: nDCG@10", "release": "a" * 20, "champion": champion}
    recipe = Recipe(kind="verdict", step="gate", version=3, inputs={"release": "a" * 20}, params=said)
    return produce(open_store(), recipe, lambda folder: (folder / "verdict.json").write_text(json.dumps(said)) and said).id


@pytest.mark.parametrize("outcome", ["undecided", "not comparable", "not run"])
def test_a_person_lets_pass_what_the_rules_could_not_decide_on(home, outcome):
    done = call("waive", verdict=verdict(outcome), who="ann", why="the shop opens")
    entry = Journal(open_store()).entries[0]
    assert (entry.action, entry.to, entry.who, entry.verdict) == ("waive", "a" * 20, "ann", done.verdict)
    assert entry.why == f"{outcome}: nDCG@10 [until {TODAY + timedelta(days=30)}]: the shop opens"
    assert entry.routing == Routing()
    (waiver,) = waivers_in_force(Journal(open_store()))
    assert (waiver.who, waiver.until) == ("ann", TODAY + timedelta(days=30))
    assert waiver.why == f"the shop opens ({outcome}: nDCG@10)"


def test_a_rule_is_set_aside_until_its_day(home):
    call("waive", rule="baseline", who="ann", why="BM25 is not fed yet", until=str(TODAY))
    journal = Journal(open_store())
    assert [one.subject for one in waivers_in_force(journal)] == ["rule baseline"]
    assert waivers_in_force(journal, TODAY + timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"outcome": "passed"}, "expected a verdict that could not decide"),
        ({"outcome": "rejected"}, "expected a verdict that could not decide"),
        ({"outcome": "undecided", "champion": "a" * 20}, "expected a verdict that could not decide"),
        ({"outcome": "undecided", "why": " "}, "without a name or a reason"),
        ({"outcome": "undecided", "until": "tomorrow"}, "--until tomorrow; expected a day such as"),
        ({"outcome": "undecided", "until": "2020-01-01"}, "--until 2020-01-01; expected a day from"),
        ({"outcome": "undecided", "until": "9999-01-01"}, "expected a day from"),
        ({}, "both --verdict and --rule, or neither"),
        ({"outcome": "undecided", "rule": "quality"}, "both --verdict and --rule, or neither"),
        ({"rule": "Quality"}, "--rule 'Quality'; expected the name of a rule: a small letter"),
        ({"rule": "x [until 2099-01-01]: y"}, "expected the name of a rule"),
    ],
)
def test_bad_input_writes_nothing(home, values, words):
    values = {"who": "ann", "why": "because", **values}
    if outcome := values.pop("outcome", ""):
        values["verdict"] = verdict(outcome, values.pop("champion", ""))
    with pytest.raises(InputError, match=words):
        call("waive", **values)
    assert Journal(open_store()).entries == []


def test_a_reason_can_not_pretend_to_be_a_waiver(home):
    journal = Journal(open_store())
    journal.append("promote", "a" * 20, timed("better", date(2099, 1, 1), "I say"), Routing(challenger="a" * 20))
    assert waivers_in_force(journal) == []


def test_the_last_day_is_one_of_the_next_366():
    assert last_day("2026-12-31", date(2026, 12, 31)) == date(2026, 12, 31)
    with pytest.raises(InputError):
        last_day("2026-12-30", date(2026, 12, 31))


def test_a_reason_of_a_day_that_there_is_not_stops_no_gate(home):
    journal = Journal(open_store())
    journal.append("promote", "a" * 20, "waived, x [until 2026-02-31]: y", Routing(challenger="a" * 20))
    assert waivers_in_force(journal) == []
