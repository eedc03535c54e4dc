"""A release that reads features serves only while they are online as they are offline: deploy asks, reconcile mends."""

import json
import re
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from feast import FeatureService
from structlog.testing import capture_logs

from pipelines.contract import load_step
from pipelines.corpus.documents import documents
from pipelines.deployment.canary import SIGNALS
from pipelines.errors import InputError, TryAgain
from pipelines.features import feast, views
from pipelines.features.feast import feature_store, registry_lock
from pipelines.features.historical import columns_of
from pipelines.features.online import open_online
from pipelines.projections import feast as projection
from pipelines.retrieval.stages.blend import BlendCard, StoredValues, write_blend
from pipelines.retrieval.stages.card import StageCard
from pipelines.settings import settings
from pipelines.store.artifacts import load, load_exactly, produce
from pipelines.store.journal import Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call
from tests.pipelines.features.conftest import corpus_of, online, servers
from tests.pipelines.features.test_online import empty
from tests.services import valkey

__all__ = ["online", "servers"]

VIEW, FEATURE, ICONS = "document_interactions", "ctr_7d", 12


def blended(releases, log: str = "", names: tuple[str, ...] = (f"{VIEW}.{FEATURE}",), ttl_s: float = 0) -> str:
    """A release like a, whose blend also reads how often documents were chosen."""
    store = open_store()
    before = load_exactly(store, "release", releases.a)
    features = tuple(
        column.unfitted.model_copy(update={"unit": "number", **({"ttl_s": ttl_s} if ttl_s else {})})
        for column in columns_of(names)
    )
    weights = {"text": {"retriever": 1.0, **{feature.name: 0.5 for feature in features}}}
    card = BlendCard(candidates=10, features=features, log=log, weights=weights)
    parts = {name: before.inputs[name] for name in ("corpus", "encoder")}
    ids = sorted(one.id for one in documents(load_exactly(store, "corpus", parts["corpus"])))
    params = {"stages": [StageCard(stage="dense").model_dump()], "log": log, "features": list(names), "ttl_s": ttl_s}
    recipe = Recipe(kind="blend", step="fit_blend", version=load_step("fit_blend").version, inputs=parts, params=params)

    def build(folder):
        write_blend(folder, card, StoredValues.of(ids, [0], np.zeros((1, len(ids), len(features))), np.zeros((1, len(ids)))))
        return {"queries": "text", "sentence": "of a test"}

    return call("assemble", index=before.inputs["index"], blend=produce(store, recipe, build).id).release


def put_online(release: str, **options) -> str:
    corpus = load_exactly(open_store(), "release", release).inputs["corpus"]
    return call("materialize_view", view=VIEW, corpus=corpus, **{"history": 1, **options}).features


def service(release: str) -> FeatureService | None:
    return next((one for one in feature_store().list_feature_services() if one.name == f"release_{release}"), None)


def differing(error) -> list[list[str]]:
    (report,) = re.findall(r"\(report (\w+) has the rows\)", str(error.value))
    return load(open_store(), "report", report).json("report.json")["tables"][1]["rows"]


def test_a_release_is_deployed_once_what_it_reads_is_online_as_offline(releases, online):
    releases.deployed(releases.a)
    release = releases.promoted(blended(releases))
    told = rf"release {release}, which reads {FEATURE} of feature view {VIEW}, "
    for step, options in (("deploy", {}), ("split", {}), ("judge_canary", {"without": list(SIGNALS)})):
        with pytest.raises(
            InputError, match=rf"{told}of which nothing is online.*start materialize_features with release {release}"
        ):
            call(step, **options)
    put_online(release)
    empty(online)
    with pytest.raises(
        InputError, match=rf"{told}of which 48 of 48 values differ.*start materialize_features with release"
    ) as refused:
        call("deploy")
    assert {row[0] for row in differing(refused)} == {VIEW}
    assert len(differing(refused)) == 48
    assert (releases.journal.routing.champion, service(release)) == (releases.a, None)
    put_online(release)
    assert call("deploy").outcome == "deployed"
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert service(release).tags == {f"parity {VIEW}": midnight.isoformat()}
    call("rollback")
    empty(online)
    assert call("rollback", to=release).release == release, "going back waits for nothing"


def test_what_is_online_of_another_corpus_is_told_when_the_release_is_deployed(releases):
    release = releases.promoted(blended(releases))
    other = corpus_of([])
    call("materialize_view", view=VIEW, corpus=other, history=1)
    with capture_logs() as said:
        assert call("deploy").outcome == "deployed"
    (warning,) = [one for one in said if one["log_level"] == "warning"]
    assert "online of another corpus than the release's" in warning["event"]
    assert (warning["release"], warning["corpus"]) == (release, other)


def test_a_share_of_the_users_is_given_to_what_is_online(releases):
    releases.deployed(releases.a)
    release = releases.promoted(blended(releases))
    put_online(release)
    assert call("split").challenger == release
    assert service(release) is not None
    empty("sqlite")
    with pytest.raises(InputError, match="48 of 48 values differ"):
        call("split", share=0.6)
    assert call("split", share=0.1).share == 0.1, "users are taken from it, whatever is online"


def test_a_release_of_which_one_view_is_not_online_has_no_feature_service(releases):
    release = releases.promoted(blended(releases, names=(VIEW, "document_attributes")))
    put_online(release)
    with pytest.raises(InputError, match="of feature view document_attributes, of which nothing is online"):
        call("deploy")
    assert service(release) is None


def test_values_count_as_long_as_the_server_takes_them(releases):
    """Of the ttl that the blend keeps, whatever the view says today."""
    release = releases.promoted(blended(releases, ttl_s=86_400))
    put_online(release, end=(datetime.now(UTC) - timedelta(days=1)).date().isoformat())
    with pytest.raises(InputError, match=r"longer ago than its ttl \(1 day, 0:00:00\)"):
        call("deploy")


def test_rows_that_are_gone_are_made_again(releases):
    release = releases.promoted(blended(releases))
    rows = put_online(release)
    (open_store().local / "features" / rows / "manifest.json").unlink()
    with pytest.raises(InputError, match=rf"rows that went online last \({rows}\) are not in .* start materialize_features"):
        call("deploy")
    put_online(release)
    assert call("deploy").outcome == "deployed"


def searched(folder) -> None:
    """A log of the search server with one exposure of yesterday."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    line = {"request_id": "r1", "at": at, "user": "u1", "query": "x", "release": "r", "policy": "champion", "entry": 1,
            "results": [{"document": "d00", "position": 1, "score": 1.0, "propensity": 1}]}  # fmt: skip
    (folder / "events/exposures.jsonl").write_text(json.dumps(line) + "\n")


def test_the_daily_run_takes_the_log_that_the_weights_were_fitted_to(releases):
    """It names none."""
    searched(settings().home)
    release = releases.promoted(blended(releases, log="server"))
    assert "log" in load_exactly(open_store(), "features", put_online(release)).inputs
    assert call("deploy").outcome == "deployed"
    other = call("materialize_view", view="document_attributes", history=1,
                 corpus=load_exactly(open_store(), "release", release).inputs["corpus"]).features  # fmt: skip
    assert "log" not in load_exactly(open_store(), "features", other).inputs, "no blend reads it"


def test_a_view_stays_as_the_champion_before_reads_it_to_which_a_rollback_returns(releases, monkeypatch):
    release = releases.promoted(blended(releases))
    put_online(release)
    call("deploy")
    releases.deployed(releases.a)
    tags = views.declared_view(VIEW).declared.tags
    monkeypatch.setitem(tags, "sql", tags["sql"].replace("30 DAY", "31 DAY"))
    with pytest.raises(
        InputError, match=f"changed since the previous champion {release} was fitted to it.*declare the changed"
    ):
        put_online(release)
    call("rollback")
    assert releases.journal.routing.champion == release


def other_sql(monkeypatch):
    view = views.declared_view(VIEW)
    monkeypatch.setattr(projection, "declared_view", lambda name: replace(view, sql=f"SELECT * FROM ({view.sql})"))


def longer_ttl(monkeypatch):
    view = views.declared_view(VIEW)
    monkeypatch.setattr(projection, "declared_view", lambda name: replace(view, ttl=timedelta(days=30)))


@pytest.mark.parametrize(
    ("log", "days", "change", "said"),
    [
        ("", 0, other_sql, r"which was changed since the weights were fitted.* undo the change of feature_repo/document_int"),
        (
            "server",
            0,
            None,
            r"is online of the corpus's interactions; expected values of the search server's log.* and log server",
        ),
        ("", 4, None, r"longer ago than its ttl \(3 days, 0:00:00\).* start materialize_features"),
        ("", 4, longer_ttl, r"longer ago than its ttl \(3 days, 0:00:00\)"),
    ],
)
def test_what_is_online_of_something_else_is_refused(releases, monkeypatch, log, days, change, said):
    release = blended(releases, log)
    put_online(release, end=(datetime.now(UTC) - timedelta(days=days)).date().isoformat())
    releases.promoted(release)
    if change:
        change(monkeypatch)
    with pytest.raises(InputError, match=said):
        call("deploy")
    (difference,) = call("reconcile").differences
    assert re.search(said, difference)
    assert service(release) is None


def test_a_registry_that_somebody_else_changes_is_tried_again(releases, monkeypatch):
    release = releases.promoted(blended(releases))
    put_online(release)
    monkeypatch.setattr(feast, "LOCKED_WITHIN_S", 0.3)
    with registry_lock(), pytest.raises(TryAgain, match="somebody has locked"):
        call("deploy")
    assert call("deploy").outcome == "deployed"


def changed_service(release: str) -> None:
    view = feature_store().get_feature_view(VIEW)
    feature_store().apply([FeatureService(name=f"release_{release}", features=[view[["shown_30d"]]], tags={})], partial=True)


def older_service(release: str) -> None:
    view = feature_store().get_feature_view(VIEW)
    named = FeatureService(name=f"release_{release}", features=[view], tags={f"parity {VIEW}": "2023-01-01"})
    feature_store().apply([named], partial=True)


def without_its_file() -> None:
    open_online().path.unlink()


def without_its_table() -> None:
    with sqlite3.connect(open_online().path) as db:
        db.execute(f"DROP TABLE ratchet_{VIEW}")


def test_what_others_do_to_feast_is_told_and_mended(releases):
    release = blended(releases)
    put_online(release)
    releases.journal.append("deploy", release, "of a test", Routing(champion=release))
    harms = [
        (lambda: None, r"had no feature service"),
        (lambda: feature_store().delete_feature_service(f"release_{release}"), r"had no feature service"),
        (lambda: changed_service(release), rf"feature service release_{release} had not what the release reads of view {VIEW}"),
        (lambda: older_service(release), r"agreed until 2023-01-01, not "),
        (lambda: empty("sqlite"), r"of which 48 of 48 values differ: 12 of document_interactions"),
        (without_its_file, r"of which 48 of 48 values differ: 12 of document_interactions"),
        (without_its_table, r"of which 48 of 48 values differ: 12 of document_interactions"),
    ]
    for harm, said in harms:
        harm()
        told = call("reconcile", repair=False)
        assert told.repaired == 0
        (difference,) = told.differences
        assert re.search(said, difference)
        assert told.note == f"DIFFERS: {difference}"
        mended = call("reconcile")
        assert (mended.repaired, mended.note.partition(":")[0]) == (1, "MENDED")
        assert call("reconcile").differences == []
        assert list(service(release).tags) == [f"parity {VIEW}"]
    feature_store().delete_feature_view(VIEW)
    told = call("reconcile")
    assert told.repaired == 0
    assert re.search(rf"DIFFERS: .*of which nothing is online.*start materialize_features with release {release}", told.note)


def test_what_another_run_puts_online_meanwhile_stays(releases, monkeypatch):
    release = blended(releases)
    put_online(release)
    releases.journal.append("deploy", release, "of a test", Routing(champion=release))
    call("reconcile")
    empty("sqlite")
    compared, put = projection._differs, []

    def meanwhile(*of):
        put.append(put_online(release, history=9))
        return compared(*of)

    with monkeypatch.context() as patch:
        patch.setattr(projection, "_differs", meanwhile)
        told = call("reconcile")
    assert (told.repaired, len(put)) == (0, 1)
    assert re.search(r"^DIFFERS: .* start materialize_features", told.note)
    assert feature_store().get_feature_view(VIEW).batch_source.description == f"features {put[0]}"
    assert call("reconcile").differences == []


def test_an_online_store_is_filled_while_mlflow_does_not_answer(releases, monkeypatch):
    release = blended(releases)
    put_online(release)
    releases.journal.append("deploy", release, "of a test", Routing(champion=release))
    with monkeypatch.context() as patch:
        patch.setenv("RATCHET_MLFLOW_URI", "http://127.0.0.1:1")
        with pytest.raises(TryAgain, match="MLflow"):
            call("reconcile")
    assert service(release) is not None
    assert call("reconcile").differences == []


@pytest.mark.services
def test_a_valkey_that_ends_midway_and_comes_back_empty_lets_nothing_serve(releases, monkeypatch, tmp_path):
    monkeypatch.setenv("RATCHET_FEATURE_ONLINE", "valkey")
    release = releases.promoted(blended(releases))
    with valkey(tmp_path / "first") as url:
        monkeypatch.setenv("RATCHET_VALKEY_URL", url)
        put_online(release)
    for step in (lambda: put_online(release), lambda: call("deploy")):
        with pytest.raises(TryAgain, match="answer"):
            step()
    assert (releases.journal.routing.champion, service(release)) == (None, None)
    with valkey(tmp_path / "second") as url:
        monkeypatch.setenv("RATCHET_VALKEY_URL", url)
        with pytest.raises(InputError, match="48 of 48 values differ"):
            call("deploy")
        assert call("reconcile").repaired == 2, "the values of the challenger, and its service"
        assert call("deploy").outcome == "deployed"
