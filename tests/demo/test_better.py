"""`make demo-better` after its own advice: what it says once its release was rolled back, and once that serves again."""

import pytest

from demo import better
from demo.services import Services
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing


@pytest.fixture
def waited_for(monkeypatch):
    """No service is started, and each serves at once whatever it is waited for; the list of these."""
    asked = []
    monkeypatch.setattr(Services, "up", lambda _, report: None)
    monkeypatch.setattr(better, "wait_until_served", lambda _, release, role="champion": asked.append((role, release)))
    return asked


def test_a_release_that_serves_again_is_shown_with_its_verdict(served, waited_for, monkeypatch, capsys):
    journal = Journal(served.store)
    for action, release in (("deploy", served.index), ("rollback", served.release)):
        journal.append(action, release, "test", Routing(champion=release))
    monkeypatch.setattr(better, "is_tuned", lambda _: True)
    better.better()
    verdict = load_exactly(served.store, "verdict", journal.latest("promote", to=served.release).verdict)
    printed = capsys.readouterr().out
    assert f"verdict   {verdict.facts['sentence']}\n" in printed
    assert "no release stands before it" in printed
    assert waited_for == [("champion", served.release)]


def test_a_tuned_release_that_was_rolled_back_is_told_how_it_serves_again(served, waited_for, monkeypatch):
    monkeypatch.setattr(better, "train", lambda _: None)  # evaluates what is there, and promote skips it
    with pytest.raises(InputError, match=r"that no rollback has left; .* `python -m pipelines rollback --to RELEASE`"):
        better.better()
