"""The DAG analyze_experiment: every file of a folder is analyzed, and one that can't be read stops no other."""

from demo import replay
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.images.serve.conftest import _small_once, route, small  # noqa: F401  # fixtures
from tests.images.serve.server import running_server
from tests.pipelines.experiments.conftest import ON, declared, units, write, written  # noqa: F401


def test_every_experiment_of_a_folder_gets_its_report(run_dag, home, tmp_path):
    written(tmp_path / "button.csv", units(3000))
    written(tmp_path / "button.yaml", declared(log="button.csv"))
    written(tmp_path / "other.jsonl", units(3000, effect=0.1))
    done = run_dag("analyze_experiment", folder=str(tmp_path), on=ON)
    assert (done.state, done.tasks) == ("success", {"find_experiments": ["success"], "analyze": ["success"] * 2})
    ids = open_store().names("experiment/")
    verdicts = {(a.facts["name"], a.facts["verdict"]) for a in (load_exactly(open_store(), "experiment", name) for name in ids)}
    assert verdicts == {("button", "do not ship"), ("other", "ship")}


def test_a_bad_file_is_red_alone(run_dag, home, tmp_path):
    written(tmp_path / "good.csv", units(2000))
    written(tmp_path / "bad.csv", [{"a": 1, "b": "x"}] * 5)
    failed = run_dag("analyze_experiment", folder=str(tmp_path), on=ON)
    assert sorted(failed.tasks["analyze"]) == ["failed", "success"]
    assert len(open_store().names("experiment/")) == 1


def test_without_a_folder_it_is_skipped(run_dag, home):
    assert run_dag("analyze_experiment").tasks == {"find_experiments": ["skipped"], "analyze": ["skipped"]}


def test_two_served_releases_are_compared_by_replayed_traffic(run_dag, trained, small, tmp_path, monkeypatch, capsys):  # noqa: F811
    """The icons' release beside one of 24 icons: the script replays through HTTP, and the DAG reads the server's log."""
    from datetime import UTC, datetime, timedelta

    route(trained.release)
    route(trained.release, small, "promote")
    now = datetime.now(UTC)
    design = {
        "id": "24 icons", "log": "server", "traffic": "replayed", "variants": {"champion": 1, "challenger": 1}, "salt": "s",
        "start": (now - timedelta(minutes=1)).isoformat(), "planned_stop": (now + timedelta(minutes=5)).isoformat(),
        "primary": {"name": "clicks per search", "kind": "ratio", "column": "clicked", "minimum_effect": 0.05},
        "guardrails": [
            {"name": "slow", "kind": "slow_share", "column": "latency_ms",
             "threshold": 5000, "direction": "decrease", "margin": 0.5}
        ],
        "secondary": [{"name": "nDCG of clicks", "kind": "ratio", "column": "ndcg"}],
        "segments": ["segment device"],
    }  # fmt: skip
    file = tmp_path / "served.yaml"
    written(file, design)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"] and status["challenger"])
        monkeypatch.setenv("RATCHET_SERVER_URL", server.url)
        monkeypatch.setenv("RATCHET_SERVER_KEY", server.key)
        assert replay.main(["--experiment", str(file), "--users", "150"]) == 0
        assert "replayed: 150 users" in capsys.readouterr().out
        refused = server.search("beach", user="ann", segment="name=ann")
        assert (refused.status_code, "a segment that is the user" in refused.text) == (422, True)
        assert server.search("beach", experiment="x").status_code == 422
    running = run_dag("analyze_experiment", folder=str(tmp_path), on=f"{now:%Y-%m-%d}")
    assert running.tasks == {"find_experiments": ["success"], "analyze": ["success"]}
    (done,) = open_store().names("experiment/")
    artifact = load_exactly(open_store(), "experiment", done)
    assert artifact.facts["verdict"] == "do not ship"
    assert "challenger makes clicks per search worse" in artifact.facts["sentence"]
    page = artifact.text("report.html")
    assert "This traffic was replayed" in page
    assert artifact.facts["units"] == 150
    effects = {effect["metric"]: effect for effect in artifact.json("analysis.json")["effects"]}
    assert effects["nDCG of clicks"]["relative"]["high"] < 0


def test_a_split_between_two_releases_is_analyzed_each_day(run_dag, trained, small, tmp_path, monkeypatch):  # noqa: F811
    """The server assigns the users, the journal says what was split and since when, and no file declares it."""
    from datetime import UTC, datetime

    route(trained.release)
    route(trained.release, small, "promote")
    written(
        tmp_path / "24.yaml",
        declared(id="24-icons", log="server", traffic="replayed", variants={"champion": 1, "challenger": 1}),
    )
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"] and status["challenger"])
        monkeypatch.setenv("RATCHET_SERVER_URL", server.url)
        monkeypatch.setenv("RATCHET_SERVER_KEY", server.key)
        begun = run_dag("split_traffic", share=0.5, name="24-icons", why="do few icons do")
        assert (begun.state, begun.note[:5]) == ("success", "SPLIT")
        server.search("beach", user="replayed-0-0", traffic="replayed")
        early = run_dag("analyze_experiment")
        assert (early.state, early.tasks["analyze"]) == ("success", ["skipped"]), "one of the two has answered nobody yet"
        assert replay.main(["--experiment", str(tmp_path / "24.yaml"), "--users", "150"]) == 0
        server.search("beach", user="ann", release="challenger", traffic="replayed")
    done = run_dag("analyze_experiment", on=f"{datetime.now(UTC):%Y-%m-%d}")
    assert done.results["find_experiments"]["experiments"] == ["server:24-icons"]
    (name,) = open_store().names("experiment/")
    artifact = load_exactly(open_store(), "experiment", name)
    assert (artifact.facts["name"], artifact.facts["units"]) == ("24-icons", 150), "who chose a release is not counted"
    assert "challenger makes clicks per search worse" in artifact.facts["sentence"]


def test_a_replay_must_be_declared_as_one(write, capsys):  # noqa: F811
    assert replay.main(["--experiment", write("e.yaml", declared())]) == 2
    assert "traffic: replayed" in capsys.readouterr().err
