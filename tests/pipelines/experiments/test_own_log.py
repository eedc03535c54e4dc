"""The search server's own logs: exposures and clicks, joined, by experiment or by role."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from pipelines.corpus.event_log import ship
from pipelines.corpus.exposure import Click, Exposure, FailedSearch, ShownDocument
from pipelines.errors import InputError, NothingToDo
from pipelines.experiments.own_log import stage_own_log
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing, Toggle
from pipelines.store.objects import open_store
from tests.conftest import call

START = datetime(2026, 3, 2, tzinfo=UTC)


def log(home, users=600, effect=0.3, experiment="ranking", seed=3):
    """Three searches a user; the treatment's first result is clicked more often."""
    random = np.random.default_rng(seed)
    folder = home / "events"
    folder.mkdir(parents=True)
    with (folder / "exposures.jsonl").open("w") as exposures, (folder / "clicks.jsonl").open("w") as clicks:
        for number in range(3 * users):
            user, treated = number % users, number % 2
            at = START + timedelta(minutes=int(random.integers(0, 14 * 1440)))
            shown = tuple(ShownDocument(document=f"d{place}", position=place, score=0.5, propensity=1) for place in (1, 2, 3))
            exposure = Exposure(
                request_id=f"r{number}", at=at, user=f"h{user}", query="q", release="one",
                policy=("champion", "challenger")[treated],
                entry=1, results=shown, latency_ms=float(random.lognormal(3, 0.4)),
                segment={"country": ("DE", "FR")[user % 4 // 2]},
                experiment=experiment, variant=("control", "treatment")[treated] if experiment else "",
            )  # fmt: skip
            exposures.write(exposure.model_dump_json() + "\n")
            if random.random() < 0.3 + effect * treated:
                place = 1 if random.random() < 0.6 else 3
                click = Click(request_id=f"r{number}", document=f"d{place}", position=place, at=at)
                clicks.write(click.model_dump_json() + "\n")
        exposures.write('{"request_id": "cut off')
    return folder


DESIGN = {
    "id": "ranking", "log": "server", "variants": {"control": 1, "treatment": 1},
    "start": "2026-03-02", "planned_stop": "2026-03-16",
    "primary": {"name": "clicks per search", "kind": "ratio", "column": "clicked", "minimum_effect": 0.05},
    "guardrails": [
        {"name": "slow", "kind": "slow_share", "column": "latency_ms", "threshold": 30, "direction": "decrease", "margin": 0.9}
    ],
    "secondary": [
        {"name": "nDCG of clicks", "kind": "ratio", "column": "ndcg"},
        {"name": "RR of clicks", "kind": "ratio", "column": "reciprocal_rank"},
        {"name": "latency p95", "kind": "quantile", "column": "latency_ms", "quantile": 0.95, "direction": "decrease"},
    ],
    "segments": ["segment country"],
}  # fmt: skip


def test_a_click_on_what_was_not_shown_there_is_set_aside_and_told(home, tmp_path):
    """A server writes down a click on another one's search, without knowing what that one has shown."""
    folder = log(home, users=100)

    def joined(name):
        (tmp_path / name).mkdir()
        staged = stage_own_log(folder, None, tmp_path / name, "500MB")
        with duckdb.connect() as db:
            return db.execute("FROM read_parquet(?)", [str(tmp_path / name / "searches.parquet")]).fetchall(), staged.warnings

    before, _ = joined("before")
    with (folder / "clicks.jsonl").open("a") as file:
        for document, position in (("d9", 1), ("d1", 2), ("d1", 4), ("d1", 0)):
            for number in range(1, 300):
                at = START.isoformat()
                row = {"request_id": f"r{number}", "document": document, "position": position, "at": at}
                file.write(json.dumps(row) + "\n")
    after, warnings = joined("after")
    assert after == before
    assert warnings == ["Clicks on what their search did not show at that position, set aside: 1,196."]


def test_exposures_and_clicks_are_joined(home, write):
    log(home)
    result = call("analyze", experiment=write("ranking.yaml", DESIGN), on="2026-04-01")
    analysis = load(open_store(), "experiment", result.experiment).json("analysis.json")
    assert (result.verdict, result.units) == ("ship", 600)
    effects = {effect["metric"]: effect for effect in analysis["effects"]}
    assert effects["clicks per search"]["control_value"] == pytest.approx(0.3, abs=0.05)
    ratio = effects["RR of clicks"]["control_value"] / effects["clicks per search"]["control_value"]
    assert ratio == pytest.approx(0.6 + 0.4 / 3, abs=0.05)
    assert effects["nDCG of clicks"]["control_value"] / effects["clicks per search"]["control_value"] == pytest.approx(
        0.8, abs=0.05
    )
    assert {effect["segment"] for effect in analysis["segments"]} == {"segment country = DE", "segment country = FR"}
    assert effects["latency p95"]["relative"]["low"] < 0 < effects["latency p95"]["relative"]["high"]
    for shipped in (2, 0):
        assert ship(open_store(), home / "events").shipped == shipped
        again = call("analyze", experiment=write("ranking.yaml", DESIGN), on="2026-04-01")
        assert (again.experiment, again.found) == (result.experiment, True), "the same rows, wherever they are"
    assert list((home / "events").iterdir()) == []


def test_a_split_counts_its_own_searches_from_its_last_change(home, write):
    """Of the made searches each names the split, by journal entry 1: they were answered before the share was as it is now."""
    releases, store = {"champion": "a" * 20, "challenger": "b" * 20}, open_store()
    journal = Journal(store)
    journal.append("promote", "b" * 20, "why", Routing(**releases))
    for share in (0.1, 0.5):
        journal.append("weight", "b" * 20, "why", Routing(**releases, split={"name": "ranking", "share": share}))
    folder = log(home, users=100)
    store.create(f"events/exposures/2020-01-02/exposures-20200102T030405Z-{'a' * 12}.parquet", b"")  # long before: not read
    file = write("ranking.yaml", DESIGN)
    for asked in ({"log": "server:ranking"}, {"experiment": file}):
        with pytest.raises(NothingToDo, match="split ranking since journal entry 3 were answered by none of its releases"):
            call("analyze", **asked, on="2026-04-01")
    lines = (folder / "exposures.jsonl").read_text().replace('"entry":1', '"entry":3').splitlines()
    (folder / "exposures.jsonl").write_text("".join(f"{line}\n" for line in lines if '"control"' in line))
    with pytest.raises(NothingToDo, match="answered only by control so far"):
        call("analyze", log="server:ranking", on="2026-04-01")
    (folder / "exposures.jsonl").write_text("\n".join(lines))
    whole = call("analyze", experiment=file, on="2026-04-01")
    assert (whole.units, "toggled" in Path(whole.report).read_text()) == (100, False)
    journal.append("toggle", "k=5", "why", toggle=Toggle(name="k", value=5))
    journal.append("weight", "b" * 20, "why", Routing(**releases))
    journal.append("toggle", "k=6", "why", toggle=Toggle(name="k", value=6))
    again = call("analyze", experiment=file, on="2026-04-02")
    told = Path(again.report).read_text()
    assert ("k=5 (entry 4)" in told, "k=6" in told) == (True, False), "what was toggled after its end is not its"
    with pytest.raises(InputError, match="a split declares its own experiment"):
        call("analyze", log="server:ranking", experiment=file)


def split_since_the_start(home):
    """The folder of the logs, and lines of a split's searches in the next year."""
    releases, journal = {"champion": "a" * 20, "challenger": "b" * 20}, Journal(open_store())
    journal.append("promote", "b" * 20, "why", Routing(**releases))
    journal.append("weight", "b" * 20, "why", Routing(**releases, split={"name": "ranking", "share": 0.5}))
    folder = log(home, users=200)
    lines = [json.loads(line) for line in (folder / "exposures.jsonl").read_text().splitlines()[:-1]]
    year = datetime.now(UTC).year + 1
    return folder, [
        {**line, "at": f"{year}{line['at'][4:]}", "entry": 2, "variant": line["policy"], "traffic": "live"} for line in lines
    ]


def analyzed(folder, lines):
    (folder / "exposures.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = call("analyze", log="server:ranking", on=f"{datetime.now(UTC).year + 1}-04-01")
    return result, load(open_store(), "experiment", result.experiment)


def test_replayed_searches_are_not_reported_as_those_of_people(home):
    folder, lines = split_since_the_start(home)
    replayed = [{**line, "traffic": "replayed"} for line in lines]
    _, artifact = analyzed(folder, replayed)
    assert "This traffic was replayed" in artifact.json("analysis.json")["warnings"][0]
    assert "replayed traffic" in artifact.text("report.html")
    _, artifact = analyzed(folder, lines[:-60] + replayed[-60:])
    assert "Replayed or simulated searches, left out since people searched, too: 60." in artifact.text("report.html")
    assert "replayed" not in " ".join(artifact.json("analysis.json")["warnings"])


def test_files_that_were_shipped_before_searches_said_who_made_them(home):
    import duckdb

    folder, lines = split_since_the_start(home)
    before, _ = analyzed(folder, lines[:-60])
    assert ship(open_store(), folder).shipped == 2
    (shipped,) = (home / "store/events/exposures").rglob("*.parquet")
    column = "SELECT * EXCLUDE (traffic) FROM read_parquet"
    duckdb.execute(f"COPY ({column}('{shipped}')) TO '{shipped}.before' (FORMAT parquet)")
    Path(f"{shipped}.before").rename(shipped)
    (closed,) = folder.glob("exposures-*.jsonl")
    closed.unlink()
    again, _ = analyzed(folder, [])
    assert again.experiment == before.experiment
    _, whole = analyzed(folder, lines[-60:])
    assert "those of experiment ranking: 600 searches." in whole.text("report.html")


def test_searches_that_only_the_challenger_refuses_are_told(home):
    folder, lines = split_since_the_start(home)
    told = {"at": START, "kind": "search", "release": "b" * 20, "error": "InputError", "latency_ms": 1}
    failures = [
        FailedSearch(**told, policy="challenger", entry=2, reason="refused", experiment="ranking", variant="challenger"),
        FailedSearch(**told, policy="challenger", entry=2, reason="failed", experiment="ranking", variant="challenger"),
        FailedSearch(**told, policy="challenger", entry=1, reason="refused"),
    ]
    before, _ = analyzed(folder, lines)
    (folder / "failures.jsonl").write_text("".join(f"{line.model_dump_json()}\n" for line in failures))
    result, artifact = analyzed(folder, lines)
    warning = artifact.json("analysis.json")["warnings"][0]
    assert (
        "challenger 1 refused and 1 failed beside 300 answered, champion 0 refused and 0 failed beside 300 answered." in warning
    )
    assert result.experiment != before.experiment


def test_without_an_experiment_roles_are_compared(home):
    log(home, experiment="")
    result = call("analyze", log="server", on="2026-04-01")
    analysis = load(open_store(), "experiment", result.experiment).json("analysis.json")
    assert (result.verdict, result.treatment) == ("ship", "challenger")
    assert analysis["effects"][0]["kind"] == "ratio"
    assert any("latency_ms above p95" in effect["metric"] for effect in analysis["effects"])


def test_what_the_champion_before_answered_is_no_arm(home):
    folder = log(home, experiment="")
    lines = (folder / "exposures.jsonl").read_text().splitlines()
    of_before = [
        json.dumps({**json.loads(line), "request_id": f"before-{number}", "user": f"b{number}", "policy": "previous"})
        for number, line in enumerate(lines[:300])
    ]
    (folder / "exposures.jsonl").write_text("\n".join([*of_before, *lines]))
    result = call("analyze", log="server", on="2026-04-01")
    assert (result.verdict, result.treatment, result.units) == ("ship", "challenger", 600)


def test_no_log_is_said(home):
    with pytest.raises(InputError, match="set RATCHET_EVENTS"):
        call("analyze", log="server")


def test_a_log_that_can_not_be_read_is_refused(home):
    damaged = f"events/exposures/2026-03-02/exposures-20260302T030405Z-{'a' * 12}.parquet"
    open_store().create(damaged, b"PAR1, and then the disk was full")
    with pytest.raises(InputError, match=r"the log of the search server in .*, which can't be read: .*aaa\.parquet"):
        call("analyze", log="server")


@pytest.mark.parametrize("lines", ["", '{"request_id": "cut off', '{"request_id": "r", "policy": "previous"}\n'])
def test_a_log_without_a_search_that_counts_is_nothing_to_do(home, lines):
    (home / "events").mkdir(parents=True)
    (home / "events/exposures.jsonl").write_text(lines)
    with pytest.raises(NothingToDo, match="the log of the search server has no search yet that champion or challenger"):
        call("analyze", log="server")


def test_lines_of_before_stay_readable():
    before = {
        "request_id": "r", "at": "2026-03-02T00:00:00Z", "user": "h", "query": "q", "release": "one",
        "policy": "champion", "entry": 1, "results": [],
    }  # fmt: skip
    exposure = Exposure.model_validate_json(json.dumps(before))
    assert (exposure.latency_ms, exposure.segment, exposure.experiment, exposure.variant) == (None, {}, "", "")
    for wrong in ({"latency_ms": -1}, {"experiment": "x"}, {"variant": "b"}, {"latency_ms": float("nan")}):
        with pytest.raises(ValueError, match=r"latency_ms|experiment"):
            Exposure(**before, **wrong)
