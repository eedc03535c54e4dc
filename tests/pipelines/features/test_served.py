"""What goes online of a view is what the release that serves reads, whatever a challenger reads."""

import pytest
from structlog.testing import capture_logs

from pipelines.errors import InputError
from pipelines.features.served import served_log
from pipelines.features.views import declared_view
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.pipelines.features.conftest import corpus_of
from tests.pipelines.projections.test_feast import FEATURE, VIEW, blended
from tests.releases import _releases_once, releases

__all__ = ["_releases_once", "releases"]


def test_features_that_are_named_are_of_the_champion_s_log_like_those_that_are_not(releases):
    champion = load_exactly(open_store(), "release", blended(releases, log="server"))
    index, named = champion.inputs["index"], [f"{VIEW}.{FEATURE}"]
    assert call("fit_blend", index=index, features=named).report, "of the interactions, where nothing serves"
    releases.journal.append("deploy", champion.id, "of a test", Routing(champion=champion.id))
    for features in ([], named):
        with pytest.raises(InputError, match=r"the log of the search server, .*, which is not there.* or name interactions"):
            call("fit_blend", index=index, features=features)
    assert call("fit_blend", index=index, features=named, feature_log="interactions").found


def test_a_challenger_stops_no_values_of_the_champion(releases):
    champion, challenger = blended(releases, log="server"), blended(releases)
    corpus = load_exactly(open_store(), "corpus", load_exactly(open_store(), "release", champion).inputs["corpus"])
    journal, view = Journal(open_store()), declared_view(VIEW)
    journal.append("promote", challenger, "of a test", Routing(challenger=challenger))
    assert served_log(journal, view, corpus, "") == ""
    with pytest.raises(InputError, match=f"with --log server, which the challenger {challenger} reads; expected --log inter"):
        served_log(journal, view, corpus, "server")
    journal.append("deploy", champion, "of a test", Routing(champion=champion, challenger=challenger))
    with capture_logs() as said:
        assert served_log(journal, view, corpus, "") == "server"
    (warning,) = said
    assert f"with --log server, which the challenger {challenger} reads" in warning["why"]
    with pytest.raises(InputError, match=f"with --log interactions, which the champion {champion} reads"):
        served_log(journal, view, corpus, "interactions")


def test_values_of_another_corpus_than_the_champion_s_are_told(releases):
    champion = blended(releases)
    releases.journal.append("deploy", champion, "of a test", Routing(champion=champion))
    other = load_exactly(open_store(), "corpus", corpus_of([]))
    with capture_logs() as said:
        served_log(Journal(open_store()), declared_view(VIEW), other, "")
    (warning,) = said
    assert "another corpus than the champion's" in warning["event"]
    assert warning["corpus"] == other.id
