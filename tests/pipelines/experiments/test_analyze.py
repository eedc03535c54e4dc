"""A log in one command: the forms it may have, the verdicts it may get, what the report says."""

import json
import subprocess

import pytest

from pipelines.errors import InputError
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import call
from tests.pipelines.experiments.conftest import ON, declared, units

EFFECT = 0.05


def test_one_command_reads_a_csv_to_its_verdict_and_report(write, tmp_path):
    report = tmp_path / "report.html"
    log = write("log.csv", units(effect=EFFECT))
    command = warm.command("-m", "pipelines", "analyze", "--log", log, "--report", str(report))
    done = subprocess.run([*command, "--on", ON], capture_output=True, text=True, timeout=120, check=True)
    result = json.loads(done.stdout)
    assert result["verdict"] == "ship"
    assert "Traceback" not in done.stderr
    for guess in (
        "read as one row per unit (user_id)",
        "control is taken for control",
        "Outcomes: converted (yes or no)",
        "spend_before for spend",
    ):
        assert guess in done.stderr
    page = report.read_text()
    assert "Treatment improves converted" in page
    assert page.index("<svg") < page.index("What was compared") < page.index("<h2>Method</h2>")


@pytest.mark.parametrize("name", ["log.jsonl", "log.parquet"])
def test_formats_agree_with_csv(analyze, name):
    rows = units(3000, effect=EFFECT)
    expected, other = analyze(rows)[1], analyze(rows, name)[1]
    for one, two in zip(expected["effects"], other["effects"], strict=True):
        assert one["relative"]["estimate"] == pytest.approx(two["relative"]["estimate"], rel=1e-9)
        assert one["pvalue"] == pytest.approx(two["pvalue"], rel=1e-6)


def test_counts_and_events_of_the_same_units_agree(analyze):
    rows = units(4000, effect=EFFECT)
    plain = analyze(rows)[1]["effects"][0]
    counts = []
    for day in sorted({row["first_seen"][:10] for row in rows}):
        for variant in ("control", "treatment"):
            group = [row for row in rows if row["variant"] == variant and row["first_seen"][:10] == day]
            counts.append(
                {"date": day, "group": variant, "users": len(group), "conversions": sum(row["converted"] for row in group)}
            )
    aggregated = analyze(counts, "counts.csv")[1]
    events = []
    for row in rows:
        common = {"user_id": row["user_id"], "group": row["variant"], "timestamp": row["first_seen"]}
        events.append({**common, "event": "exposure"})
        events += [{**common, "event": "purchase"}] * row["converted"]
    logged = analyze(events, "events.csv")[1]
    assert (aggregated["reading"]["form"], logged["reading"]["form"]) == ("counts", "events")
    for effect in (aggregated["effects"][0], logged["effects"][0]):
        assert effect["relative"] == pytest.approx(plain["relative"], rel=1e-9)
        assert effect["pvalue"] == pytest.approx(plain["pvalue"], rel=1e-9)
        assert [look["pvalue"] for look in effect["looks"]] == pytest.approx(
            [look["pvalue"] for look in plain["looks"]], rel=1e-6
        )


@pytest.mark.parametrize(
    ("effect", "on", "verdict", "words"),
    [
        (EFFECT, "2026-03-20", "ship", "improves converted"),
        (-EFFECT, "2026-03-20", "do not ship", "makes converted worse"),
        (0.0, "2026-03-20", "do not ship", "No effect of treatment on converted is shown"),
        (0.0, "2026-03-10", "keep running", "Not decided yet"),
    ],
)
def test_verdicts(analyze, effect, on, verdict, words):
    rows = [row for row in units(effect=effect) if row["first_seen"][:10] <= on]
    result, analysis = analyze(rows, design=declared(), on=on)
    assert (result.verdict, words in result.sentence) == (verdict, True), result.sentence
    assert analysis["declared"]
    assert result.note.startswith(verdict.upper())


def test_an_effect_of_the_minimum_size_that_is_ruled_out_ends_it(analyze):
    design = declared(primary={"name": "converted", "minimum_effect": 0.3})
    result, _ = analyze([row for row in units(20_000) if row["first_seen"] < "2026-03-13"], design=design, on="2026-03-12")
    assert result.verdict == "do not ship"
    assert "does not change converted by the +30.0 % that would matter" in result.sentence


def test_a_lost_tenth_of_one_arm_is_invalid_whatever_the_effect(analyze):
    rows = [row for number, row in enumerate(units(20_000, effect=EFFECT)) if row["variant"] == "control" or number % 10]
    result, analysis = analyze(rows, design=declared())
    assert result.verdict == "invalid"
    assert "Sample ratio: The variants have" in result.sentence
    page = load(open_store(), "experiment", result.experiment).text("report.html")
    assert "Effects that can&#39;t be trusted" in page
    assert "var(--good, #" not in page, "nothing that is drawn looks like a gain"
    assert {check["name"] for check in analysis["checks"] if check["status"] == "failed"} >= {
        "sample ratio",
        "sample ratio, at every look",
    }


def test_guardrails_may_stop_what_the_primary_metric_would_ship(analyze):
    rows = units(20_000, effect=EFFECT)
    for number, row in enumerate(rows):
        row["returned"] = int(number % 10 < (5 if row["variant"] == "control" else 4))
    guarded = {"name": "returned", "margin": 0.05, "direction": "increase"}
    broken, _ = analyze(rows, design=declared(guardrails=[guarded]))
    assert (broken.verdict, "breaks the guardrail returned" in broken.sentence) == ("do not ship", True)
    for number, row in enumerate(rows):
        row["returned"] = int(number % 10 < 5)
    held, _ = analyze(rows, design=declared(guardrails=[guarded]))
    assert (held.verdict, "1 guardrail holds" in held.sentence) == ("ship", True)
    unsure, _ = analyze(rows, design=declared(guardrails=[{**guarded, "margin": 0.001}]))
    assert (unsure.verdict, "stays within its margin" in unsure.sentence) == ("do not ship", True)


def test_more_treatments_are_corrected_by_holm(analyze):
    rows = units(12_000, effect=EFFECT)
    for number, row in enumerate(rows):
        row["variant"] = ("control", "b", "c")[number % 3]
        row["converted"] = int(number % 100 < {"control": 20, "b": 20, "c": 26}[row["variant"]])
    result, analysis = analyze(rows, design=declared(variants={"control": 1, "b": 1, "c": 1}))
    assert (result.verdict, result.treatment) == ("ship", "c")
    first = {effect["treatment"]: effect for effect in analysis["effects"]}
    assert first["c"]["level"] == pytest.approx(0.04 / 2)
    assert first["b"]["adjusted"] >= first["b"]["pvalue"]


def test_segments_are_corrected_and_two_hundred_of_them_are_gathered(analyze):
    rows = units(12_000)
    for number, row in enumerate(rows):
        row["country"] = f"c{number % 200}" if number % 2 else "DE"
    _, analysis = analyze(rows, design=declared(segments=["country"]))
    shown = [effect["segment"] for effect in analysis["segments"]]
    assert shown == ["country = DE", "country = (others)"]
    assert sum(sum(effect["units"]) for effect in analysis["segments"]) == analysis["units"]
    assert all(effect["level"] <= 0.025 for effect in analysis["segments"][:1])


def test_cuped_narrows_what_a_covariate_explains(analyze):
    design = declared(primary={"name": "spend", "kind": "mean", "covariate": "spend_before"})
    _, with_it = analyze(units(), design=design)
    _, without = analyze(units(), design=declared(primary={"name": "spend", "kind": "mean"}))
    adjusted, plain = with_it["effects"][0], without["effects"][0]
    widths = [effect["absolute"]["high"] - effect["absolute"]["low"] for effect in (adjusted, plain)]
    assert (widths[0] / widths[1]) ** 2 == pytest.approx(1 - adjusted["cut"], rel=0.02)
    assert adjusted["cut"] > 0.3


def test_winsorizing_names_its_estimand(analyze):
    design = declared(primary={"name": "spend", "kind": "mean", "winsorize": 0.95})
    result, analysis = analyze(units(), design=design)
    _, whole = analyze(units(), design=declared(primary={"name": "spend", "kind": "mean"}))
    assert analysis["effects"][0]["control_value"] < 0.95 * whole["effects"][0]["control_value"]
    assert "the mean of values cut at" in load(open_store(), "experiment", result.experiment).text("report.html")


def test_the_same_log_day_and_declaration_is_found(analyze):
    rows = units(1000)
    first, second, later = analyze(rows)[0], analyze(rows)[0], analyze(rows, on="2026-11-02")[0]
    assert (first.experiment, second.found) == (second.experiment, True)
    assert later.experiment != first.experiment


def test_texts_of_a_log_are_escaped_in_the_report(analyze):
    rows = units(2000)
    for row in rows:
        row["country"] = "<script>alert(1)</script>" if row["country"] == "DE" else row["country"]
    result, _ = analyze(rows)
    page = load(open_store(), "experiment", result.experiment).text("report.html")
    assert "alert(1)" in page
    assert "<script>alert" not in page


def test_a_log_in_a_bucket(s3, monkeypatch, write):
    import boto3

    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = s3.create_bucket("experiments")
    client = boto3.client(
        "s3", endpoint_url=s3.endpoint, region_name="us-east-1",
        aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key,
    )  # fmt: skip
    client.upload_file(write("log.csv", units(1000)), "experiments", "shop/log.csv")
    assert call("analyze", log=f"{bucket}/shop/log.csv", on=ON).units == 1000
    with pytest.raises(InputError, match=r"none\.csv"):
        call("analyze", log=f"{bucket}/shop/none.csv", on=ON)


def test_a_replay_is_labelled(analyze):
    result, analysis = analyze(units(1000), design=declared(traffic="replayed"))
    assert "This traffic was replayed" in analysis["warnings"][0]
    assert "replayed traffic" in load(open_store(), "experiment", result.experiment).text("report.html")


def test_a_plan_says_how_long(write):
    plain = call("plan_experiment", baseline=0.1, minimum_effect=0.05, daily_units=10_000)
    assert (plain.units, plain.days) == (115_520, 12)
    adjusted = call("plan_experiment", baseline=0.1, minimum_effect=0.05, correlation=0.5)
    assert adjusted.units == pytest.approx(0.75 * plain.units, abs=1)
    looked = call("plan_experiment", baseline=0.1, experiment=write("e.yaml", declared()))
    assert looked.units > plain.units
    assert looked.sequential_units > looked.units


def test_a_folder_gives_its_declarations_and_the_logs_that_none_names(write, tmp_path):
    write("a.csv", units(10))
    write("b.csv", units(10))
    write("declared.yaml", declared(log="a.csv"))
    (tmp_path / "notes.txt").write_text("nothing")
    assert [name.rpartition("/")[2] for name in call("find_experiments", folder=str(tmp_path)).experiments] == [
        "declared.yaml",
        "b.csv",
    ]
    assert call("analyze", log=str(tmp_path / "declared.yaml"), on=ON).name == "button"
