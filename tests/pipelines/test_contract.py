"""What the contract promises beyond types: params that came later leave older ids alone; manifests say when work began."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated

import pytest
from pydantic import Field

from pipelines import contract
from pipelines.contract import Added, Params, Result, Step
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


class CountParams(Params):
    number: int


class CountResult(Result):
    corpus: str


def corpus_numbered(number: int, build=lambda folder: {}):
    return produce(open_store(), Recipe(kind="corpus", step="count", version=1, inputs={}, params={"number": number}), build)


def count(params: CountParams) -> CountResult:
    return CountResult(corpus=corpus_numbered(params.number).id)


def started_at(corpus: str) -> str:
    return find(open_store(), "corpus", corpus).manifest.provenance["started_at"]


def test_a_step_called_twice_in_one_process_records_when_each_call_began(home, monkeypatch):
    calls = iter([1_000, 2_000])
    monkeypatch.setattr(contract, "time", SimpleNamespace(time=lambda: next(calls)))
    step = Step("count", 1, count, CountParams, None, CountResult)
    assert [started_at(step.call({"number": number}).corpus) for number in (1, 2)] == [
        "1970-01-01T00:16:40Z", "1970-01-01T00:33:20Z"
    ]  # fmt: skip
    assert contract.step_started() is None


def test_an_artifact_produced_outside_a_step_records_when_its_work_began(home):
    before = int(time.time())
    made = corpus_numbered(1, lambda folder: time.sleep(1.1) or {})
    began = datetime.fromisoformat(started_at(made.id)).astimezone(UTC).timestamp()
    assert before <= began < datetime.fromisoformat(made.manifest.provenance["at"]).timestamp()


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
