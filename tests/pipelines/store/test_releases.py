"""Releases by role, by id and by first digits: the same words and messages for every step."""

import pytest

from pipelines.errors import InputError
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.releases import champion_release, resolve
from tests.releases import _releases_once, releases  # noqa: F401


def test_a_role_an_id_and_its_first_digits_name_a_release(releases):  # noqa: F811
    journal = Journal(open_store())
    journal.append("deploy", releases.a, "test", Routing(champion=releases.a, challenger=releases.b))
    names = {"champion": releases.a, "challenger": releases.b, releases.c: releases.c, releases.c[:6]: releases.c}
    assert {name: resolve(journal, name).id for name in names} == names
    assert champion_release(journal).id == releases.a


@pytest.mark.parametrize("role", ["champion", "challenger"])
def test_a_role_that_no_release_has_is_one_sentence(home, role):
    with pytest.raises(InputError, match=rf"given {role}; expected a {role}, .* none yet; .* pass a release id"):
        resolve(Journal(open_store()), role)
    assert champion_release(Journal(open_store())) is None


def test_a_champion_that_left_the_store(releases):  # noqa: F811
    journal = Journal(open_store())
    journal.append("deploy", releases.a, "test", Routing(champion=releases.a))
    (journal.store.local / "release" / releases.a / "manifest.json").unlink()
    for named in (lambda: resolve(journal, "champion"), lambda: champion_release(journal)):
        with pytest.raises(InputError, match=f"given release {releases.a}; expected an artifact in"):
            named()
    assert champion_release(journal, missing_ok=True) is None
