"""What the step contract promises beyond types: params that came later leave older ids alone."""

from typing import Annotated

import pytest
from pydantic import Field

from pipelines.contract import Added, Params
from pipelines.errors import NewerVersion
from pipelines.store.artifacts import find, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe


class Before(Params):
    measure: str = "nDCG@10"
    margin: float = 0.02


class After(Before):
    segments: Annotated[int, Added(), Field(ge=0)] = 0


def named(params):
    return Recipe(kind="verdict", step="gate", version=1, inputs={}, params=params.recipe_params({"margin"})).id


def test_an_added_param_enters_a_recipe_only_where_it_is_not_its_default():
    assert named(After()) == named(Before())
    assert named(After(segments=3)) != named(Before())
    assert After(segments=3).recipe_params() == {"measure": "nDCG@10", "margin": 0.02, "segments": 3}
    with pytest.raises(ValueError, match="segments"):
        After(segments=-1)


@pytest.mark.parametrize("change", [('"kind": "corpus"', '"kind": "planet"'), ('"facts"', '"reviewed": 1, "facts"'),
                                    ('"layout": 1', '"layout": 2')])  # fmt: skip
def test_a_manifest_of_a_newer_version_asks_for_an_upgrade(home, change):
    store = open_store()
    made = produce(store, Recipe(kind="corpus", step="t", version=1, inputs={}, params={}), lambda folder: {})
    path = store.local / "corpus" / made.id / "manifest.json"
    body = path.read_text().replace(*change) if change[0] in path.read_text() else None
    assert body, path.read_text()
    path.write_text(body)
    with pytest.raises(NewerVersion, match="upgrade"):
        find(store, "corpus", made.id)
