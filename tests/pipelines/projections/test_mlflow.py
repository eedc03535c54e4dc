"""MLflow shows what the journal says: against a real server on SQLite and files, and one on PostgreSQL and S3."""

import contextlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import logs
from pipelines.__main__ import main
from pipelines.errors import InputError
from pipelines.models.encoder import load_encoder
from pipelines.settings import bound_mlflow, settings
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.pipelines.models.training.conftest import base, corpus, release, train, tune
from tests.rerankers import _reranking_once, reranking
from tests.services import free_ports, mlflow, postgres

__all__ = ["_reranking_once", "base", "corpus", "release", "reranking"]


on_both_kinds = pytest.mark.parametrize("mlflow_uri", ["on_sqlite_and_files", "on_postgres_and_s3"], indirect=True)
"""What a database and a store of artifacts do differently; the rest is on one kind here, and on both in proof-registry."""


@pytest.fixture(autouse=True)
def _logs_on_stderr():
    logs.configure(settings(), "")


@pytest.fixture(scope="session")
def on_sqlite_and_files(tmp_path_factory):
    with mlflow(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


@pytest.fixture(scope="session")
def on_postgres_and_s3(s3, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with postgres(folder / "postgres") as backend:
        account = {**s3.environment, "MLFLOW_S3_ENDPOINT_URL": s3.endpoint}
        with mlflow(folder / "mlflow", backend, s3.create_bucket("mlflow"), account) as uri:
            yield uri


@pytest.fixture
def mlflow_uri(request):
    return request.getfixturevalue(getattr(request, "param", "on_sqlite_and_files"))


@pytest.fixture
def client(mlflow_uri, monkeypatch):
    """A client of an MLflow that knows no releases yet."""
    bound_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("RATCHET_MLFLOW_URI", mlflow_uri)
    client = MlflowClient(mlflow_uri)
    with contextlib.suppress(MlflowException):  # there was none yet
        client.delete_registered_model("release")
    return client


def shown(client):
    """Which release each alias points at."""
    model = client.get_registered_model("release")
    return {alias: client.get_model_version("release", version).tags["release"] for alias, version in model.aliases.items()}


@on_both_kinds
def test_aliases_follow_promotion_deployment_and_rollback(releases, client):
    releases.promoted(releases.a)
    assert shown(client) == {"challenger": releases.a}
    call("deploy")
    assert shown(client) == {"champion": releases.a}
    releases.promoted(releases.b)
    assert shown(client) == {"champion": releases.a, "challenger": releases.b}
    call("deploy")
    assert shown(client) == {"champion": releases.b, "previous": releases.a}
    call("rollback", why="a drill")
    assert shown(client) == {"champion": releases.a}
    assert call("reconcile").differences == []
    assert len(client.search_model_versions("name='release'")) == 2


@on_both_kinds
def test_a_version_says_what_was_promoted_and_why(releases, client, tmp_path):
    verdict = releases.verdict(releases.a, sentence="passed: no champion yet")
    call("promote", verdict=verdict)
    (version,) = client.search_model_versions("name='release'")
    assert (version.tags["release"], version.tags["verdict"], version.tags["encoder"]) == (
        releases.a,
        verdict,
        releases.encoder,
    )
    assert version.tags["nDCG_at_10"] == version.tags["nDCG_judged_only_True_at_10"] == "0.5000"
    assert version.description == "passed: no champion yet"
    files = {Path(file.path).name for file in client.list_artifacts(version.run_id, "release")}
    assert files == {
        *(
            "MLmodel",
            "store.json",
            "requirements.txt",
            "release.json",
            "verdict.md",
            "card.md",
            "journal_entry.json",
            "reports",
        ),
    }
    text = client.download_artifacts(version.run_id, "release/verdict.md", str(tmp_path))
    assert "passed: no champion yet" in Path(text).read_text()


@on_both_kinds
def test_a_hand_moved_alias_is_reported_and_mended(releases, client, capsys):
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    number = client.get_model_version_by_alias("release", "challenger").version
    client.set_registered_model_alias("release", "champion", number)
    told = call("reconcile", repair=False)
    assert told.repaired == 0
    assert told.differences == [
        f"alias champion pointed at release {releases.b} (version {number}), journal says {releases.a}: moved by hand?"
    ]
    assert shown(client)["champion"] == releases.b
    assert main(["reconcile"]) == 0
    assert "moved by hand?" in capsys.readouterr().err
    assert shown(client) == {"champion": releases.a, "challenger": releases.b}
    client.delete_registered_model_alias("release", "champion")
    assert call("reconcile").differences == [f"alias champion pointed nowhere, journal says {releases.a}: moved by hand?"]
    assert call("reconcile").repaired == 0


def test_an_alias_at_a_release_that_was_erased_was_moved_by_nobody(releases, client, capsys):
    for deployed in (releases.a, releases.b, releases.c):
        releases.deployed(deployed)
    assert shown(client)["previous"] == releases.b
    releases.journal.append("erase", releases.b, "it held what was erased")
    (told,) = call("reconcile").differences
    assert told.startswith(f"alias previous pointed at release {releases.b}")
    assert told.endswith(f"journal says {releases.a}")
    assert shown(client) == {"champion": releases.c, "previous": releases.a}


def test_an_alias_where_the_journal_has_none_is_removed(releases, client):
    releases.deployed(releases.a)
    number = client.get_model_version_by_alias("release", "champion").version
    client.set_registered_model_alias("release", "challenger", number)
    assert "journal says none" in call("reconcile").differences[0]
    assert shown(client) == {"champion": releases.a}


def test_what_happened_while_mlflow_was_down_is_made_up_for(releases, client, monkeypatch, capsys):
    up = client.tracking_uri
    monkeypatch.setenv("RATCHET_MLFLOW_URI", f"http://127.0.0.1:{free_ports(1)[0]}")
    verdict = releases.verdict(releases.a)
    started = time.monotonic()
    assert main(["promote", "--verdict", verdict]) == 0
    assert "`reconcile` will mend it" in capsys.readouterr().err
    assert main(["reconcile"]) == 75
    assert time.monotonic() - started < 20
    told = capsys.readouterr().err
    assert "MLflow at http://127.0.0.1" in told
    assert "Traceback" not in told
    assert releases.journal.routing.challenger == releases.a
    monkeypatch.setenv("RATCHET_MLFLOW_URI", up)
    assert call("reconcile").repaired == 2
    assert shown(client) == {"challenger": releases.a}


def test_an_mlflow_that_goes_down_midway_stops_no_promotion(releases, client, monkeypatch, capsys):
    import requests

    releases.deployed(releases.a)
    verdict = releases.verdict(releases.b, releases.a)
    send, answered = requests.Session.send, iter(range(3))

    def cut_off(session, *arguments, **options):
        if next(answered, None) is None:
            raise requests.ConnectionError("cut off")
        return send(session, *arguments, **options)

    with monkeypatch.context() as down:
        down.setattr(requests.Session, "send", cut_off)
        assert main(["promote", "--verdict", verdict]) == 0
    assert next(answered, None) is None, "it answered a few times before"
    told = capsys.readouterr().err
    assert "`reconcile` will mend it" in told
    assert "Traceback" not in told
    assert releases.journal.routing.challenger == releases.b
    assert shown(client) == {"champion": releases.a}
    call("reconcile")
    assert shown(client) == {"champion": releases.a, "challenger": releases.b}


def test_a_registered_model_of_somebody_else_is_left_alone(releases, client, monkeypatch, capsys):
    client.create_registered_model("release")
    theirs = client.create_model_version("release", "s3://team-x/model", await_creation_for=0)
    client.set_registered_model_alias("release", "champion", theirs.version)
    releases.deployed(releases.a)
    assert "RATCHET_MLFLOW_MODEL" in capsys.readouterr().err, "a promotion and a deployment only warn"
    with pytest.raises(
        InputError, match=r"release, of which 1 of 1 versions are not this store's \(version 1\).*set RATCHET_MLF"
    ):
        call("reconcile")
    assert client.get_registered_model("release").aliases == {"champion": theirs.version}
    monkeypatch.setenv("RATCHET_MLFLOW_MODEL", "shop-release")
    assert call("reconcile").repaired == 2
    number = client.get_registered_model("shop-release").aliases["champion"]
    version = client.get_model_version("shop-release", number)
    assert (version.tags["release"], version.tags["store"]) == (releases.a, releases.journal.identity)
    client.delete_registered_model("shop-release")


def test_runs_go_into_the_experiment_that_the_setting_names(releases, client, monkeypatch):
    monkeypatch.setenv("RATCHET_MLFLOW_EXPERIMENT", "shop search")
    releases.deployed(releases.a)
    (version,) = client.search_model_versions("name='release'")
    experiment = client.get_experiment_by_name("shop search")
    assert client.get_run(version.run_id).info.experiment_id == experiment.experiment_id


def test_versions_of_another_store_are_told_by_their_tag(releases, client):
    releases.deployed(releases.a)
    (version,) = client.search_model_versions("name='release'")
    client.delete_model_version_tag("release", version.version, "store")
    assert call("reconcile").differences == [], "a version older than the tag is known by its release"
    client.set_model_version_tag("release", version.version, "store", "0" * 64)
    with pytest.raises(InputError, match="versions are not this store's"):
        call("reconcile")


@pytest.mark.parametrize("name", ["team/release", "it's", "a:b"])
def test_a_name_that_mlflow_refuses_is_refused_here(name, home, monkeypatch):
    monkeypatch.setenv("RATCHET_MLFLOW_MODEL", name)
    with pytest.raises(InputError, match="correct or unset RATCHET_MLFLOW_MODEL"):
        settings()


def test_without_mlflow_there_is_nothing_to_reconcile(home, capsys, monkeypatch):
    assert main(["reconcile"]) == 4
    monkeypatch.setenv("RATCHET_MLFLOW_URI", "mlruns")
    assert main(["reconcile"]) == 2
    assert "http://127.0.0.1:5000" in capsys.readouterr().err


@pytest.fixture
def judged(served, client):
    """The icons' champion with its stages, evaluated and judged for real, shown in MLflow."""
    call("reconcile")
    return served


@on_both_kinds
def test_the_champion_in_mlflow_ranks_as_the_store_does(judged, client, monkeypatch):
    import mlflow

    from pipelines.retrieval.release import load_release

    mlflow.set_tracking_uri(client.tracking_uri)
    model = mlflow.pyfunc.load_model("models:/release@champion")
    queries = ["heart", "money"]
    answers = model.predict(pd.DataFrame({"query": queries}), params={"k": 3})
    assert list(answers.columns) == ["query", "rank", "document", "title", "score"]
    expected = load_release(judged.store, judged.release).search(queries, 3)
    for query, ranking in zip(queries, expected, strict=True):
        rows = answers[answers["query"] == query]
        assert list(rows["document"]) == [document for document, _ in ranking]
        assert list(rows["rank"]) == [1, 2, 3]
    assert len(model.predict(["heart"])) == 10
    monkeypatch.setenv("RATCHET_STORE", f"file://{judged.home}/elsewhere")
    with pytest.raises(InputError, match="set RATCHET_STORE to an address"):
        mlflow.pyfunc.load_model("models:/release@champion")


@on_both_kinds
def test_the_run_has_all_that_is_known_of_the_release(judged, client):
    from pipelines.store.artifacts import load_exactly

    (version,) = client.search_model_versions("name='release'")
    run = client.get_run(version.run_id)
    entry = next(entry for entry in Journal(judged.store).entries if entry.action == "promote")
    verdict = load_exactly(judged.store, "verdict", entry.verdict)
    evaluation = load_exactly(judged.store, "evaluation", verdict.inputs["evaluation"])
    measured = evaluation.json("measures.json")["measures"]["nDCG@10"]["release"]
    bounds = [run.data.metrics[f"nDCG_at_10{ending}"] for ending in ("", "_low", "_high")]
    assert bounds == pytest.approx([measured[key] for key in ("mean", "low", "high")])
    for rule in verdict.json("verdict.json")["rules"]:
        assert run.data.metrics[f"rule/{rule['name']}/passed"] == (rule["outcome"] == "passed")
    assert run.data.params["corpus"] == judged.corpus
    assert run.data.params["verdict.outcome"] == "passed"
    datasets = {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs}
    assert datasets == {"corpus": judged.corpus, "judgments": evaluation.facts["queries_digest"]}
    plots = {Path(file.path).name for file in client.list_artifacts(version.run_id, "release/plots")}
    assert {"measures.svg"} <= plots
    reports = {Path(file.path).name for file in client.list_artifacts(version.run_id, "release/reports")}
    assert reports == {"card.html", "evaluation.html", "verdict.html"}
    assert run.info.status == "FINISHED"


def test_the_release_card_says_what_is_stated_and_what_is_not(served, tmp_path, monkeypatch, capsys):
    from pipelines.store.artifacts import load_exactly

    without = load_exactly(served.store, "report", call("describe").report).text("card.md")
    assert "| intended use | not stated; RATCHET_RELEASE_CARD names the file that states it |" in without
    assert "## nDCG@10 by query length" in without
    assert "Measured by" in without
    file = tmp_path / "card.yaml"
    file.write_text("intended_use: finding icons\nlicence: CC BY 4.0\nethics: '<script>'\n")
    monkeypatch.setenv("RATCHET_RELEASE_CARD", str(file))
    result = call("describe")
    stated = load_exactly(served.store, "report", result.report)
    assert "| intended use | finding icons |" in stated.text("card.md")
    assert "<script>" not in stated.text("report.html")
    assert call("describe").found
    for body in (
        "purpose: x",
        "- a",
        "a: [",
        "intended_use: 7",
        "\x00",
        "limits: 2026-02-30",
        "limits: !!int ''",
        "a: !!timestamp x",
    ):
        file.write_text(body)
        assert main(["describe"]) == 2, body
    monkeypatch.setenv("RATCHET_RELEASE_CARD", str(tmp_path))
    assert main(["describe"]) == 2
    told = capsys.readouterr().err
    assert "intended_use, not_intended_for" in told
    assert "Traceback" not in told


def test_a_card_by_the_verdict_of_another_release_is_refused(releases):
    verdict = releases.verdict(releases.b)
    with pytest.raises(
        InputError, match=f"verdict {verdict}, which judged release {releases.b}.*a verdict of release {releases.a}"
    ):
        call("describe", release=releases.a, verdict=verdict)
    assert call("describe", release=releases.b, verdict=verdict).verdict == verdict


def runs_of(client, artifact):
    experiment = client.get_experiment_by_name("ratchet")
    return client.search_runs([experiment.experiment_id], f"tags.artifact = '{artifact}'")


def curve(client, run, name):
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


@on_both_kinds
def test_a_training_is_a_run_with_params_curves_and_a_model_that_loads(client, base, corpus, home):
    options = {"corpus": corpus, "learning_rate": 3e-3, "batch_size": 4, "epochs": 2}
    tuned = tune(base, **options)
    assert tune(base, **options).found
    (run,) = runs_of(client, tuned.encoder)
    assert {"epochs": "2", "learning_rate": "0.003", "tuning.threads": "1"}.items() <= run.data.params.items()
    facts = load(open_store(), "encoder", tuned.encoder).facts
    steps = facts["loss"][-1][0]
    assert curve(client, run, "loss") == [(step, loss) for step, loss in facts["loss"]]
    assert curve(client, run, "dev_ndcg10") == [(round(steps * epoch / 2), value) for epoch, value in facts["curve"]]
    assert run.data.tags["corpus"] == corpus
    texts = ["used lamp", "old chair"]
    vectors = loaded_from(client, run, "apache-2.0", ["text"]).predict(pd.DataFrame({"text": texts}))
    expected = load_encoder(load(open_store(), "encoder", tuned.encoder), "onnx-fp32").encode(texts, "query")
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_trained_reranker_is_a_run_with_its_model(client, base, release):
    trained = train(base, release=release, learning_rate=3e-3, batch_size=4, epochs=2, patience=2)
    (run,) = runs_of(client, trained.reranker)
    card = load(open_store(), "reranker", trained.reranker).json("reranker.json")
    assert [value for _, value in curve(client, run, "dev_ndcg10")] == [value for _, value in card["scores"]]
    frame = pd.DataFrame({"query": ["used lamp"] * 2, "document": ["blue lamp", "red chair"]})
    scores = loaded_from(client, run, "apache-2.0", ["query", "document"]).predict(frame)
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]


def loaded_from(client, run, licence, columns):
    """The run's model, as anybody loads it; its licence and its signature are as they should be."""
    import mlflow

    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (str(model.status), model.tags["licence"]) == ("READY", licence)
    mlflow.set_tracking_uri(client.tracking_uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert loaded.metadata.signature.inputs.input_names() == columns
    assert loaded.metadata.metadata["licence"] == licence
    return loaded


def test_a_choice_is_a_run_with_speed_against_fidelity(client, reranking, tmp_path):
    chosen = call("choose_reranker", reranker_variants=reranking.variants, index=reranking.index, queries=10, latency_s=0)
    (run,) = runs_of(client, chosen.report)
    assert run.data.metrics["onnx-fp32/fidelity_low"] == 1
    assert run.data.metrics["speedup"] == pytest.approx(chosen.speedup)
    assert run.data.tags["sentence"] == chosen.sentence
    picture = Path(client.download_artifacts(run.info.run_id, "speed_against_fidelity.svg", str(tmp_path))).read_text()
    assert picture.startswith("<svg")
    assert chosen.variant in picture


def test_without_mlflow_a_training_is_made_all_the_same(base, corpus, monkeypatch, capsys):
    monkeypatch.setenv("RATCHET_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert tune(base, corpus=corpus).encoder
    assert "MLflow does not show this run" in capsys.readouterr().err
