"""Logs as people have them: each gets a message, or a reading that is said, never a silent guess."""

import subprocess

import pytest

from pipelines.errors import InputError, NothingToDo
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import call
from tests.pipelines.experiments.conftest import ON, declared, units


def changed(count=2000, **columns):
    """Units with columns replaced: a value, or a function of the row's number."""
    rows = units(count)
    for number, row in enumerate(rows):
        row.update({name: value(number) if callable(value) else value for name, value in columns.items()})
    return rows


def third(number):
    return ("control", "treatment", "other")[number % 3]


REFUSED = {
    "one variant": (changed(variant="control"), None, "with one variant"),
    "one of the declared variants": (changed(variant="control"), declared(), "without a row of variant treatment"),
    "three where two were declared": (changed(variant=third), declared(), "with the variant other"),
    "a clock in the future": (changed(first_seen="2031-01-01T00:00:00Z"), declared(), "in the future"),
    "mixed time zones": (
        changed(first_seen=lambda n: "2026-03-02T10:00:00+01:00" if n % 2 else "2026-03-02T10:00:00"),
        declared(), "times without an offset",
    ),
    "days or months first": (changed(first_seen=lambda n: f"0{n % 9 + 1}/03/2026"), declared(), "day or month first"),
    "two currencies": (
        changed(spend=lambda n: f"${n}" if n % 2 else f"€{n}"),
        declared(primary={"name": "spend", "kind": "mean"}), "amounts in",
    ),
    "two decimal signs": (
        changed(spend=lambda n: "1,5" if n % 2 else "2.25"),
        declared(primary={"name": "spend", "kind": "mean"}), "",
    ),
    "texts for an outcome": (changed(converted=lambda n: f"word{n}"), declared(), "expected numbers, amounts, or yes and no"),
    "shares that are none": (changed(converted=7), declared(), "expected yes and no, or 0 and 1"),
    "a metric that is not there": (changed(), declared(primary={"name": "profit"}), "which the log does not have"),
    "a segment that is not there": (changed(), declared(segments=["planet"]), "segment 'planet'"),
    "a covariate from after": (
        changed(measured_at="2026-04-01T00:00:00Z"),
        declared(primary={"name": "spend", "kind": "mean", "covariate": "spend_before"}), "measured after the exposure",
    ),
    "nothing after the start": (changed(first_seen="2026-02-01T00:00:00Z"), declared(), "fewer than 2 units"),
    "an unknown field": (changed(), None, "a field: unit"),
    "an unknown column": (changed(), None, "column 'x'"),
}  # fmt: skip
OPTIONS = {"an unknown field": ["planet=x"], "an unknown column": ["unit=x"]}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_message_and_nothing_stored(analyze, case):
    rows, design, words = REFUSED[case]
    with pytest.raises(InputError) as refusal:
        analyze(rows, design=design, column=OPTIONS.get(case, ()))
    assert words in str(refusal.value), str(refusal.value)
    assert all(part in str(refusal.value) for part in ("given ", "; expected ", "; next: "))
    assert open_store().names("experiment/") == []


READ = {
    "yes and no": (changed(converted=lambda n: "yes" if n % 5 else "No"), None, "converted: yes is read as yes, no as no"),
    "true and false": (changed(converted=lambda n: "True" if n % 5 else "False"), None, "true is read as yes"),
    "t and f": (changed(converted=lambda n: "t" if n % 5 else "f"), None, "t is read as yes"),
    "1 and nothing": (changed(converted=lambda n: "" if n % 5 else "1"), declared(), "empty is read as no"),
    "money": (changed(spend=lambda n: f"${n:,}.50"), declared(primary={"name": "spend", "kind": "mean"}), "amounts in $"),
    "euros": (
        changed(spend=lambda n: f"{n},50 €"),
        declared(primary={"name": "spend", "kind": "mean"}), "“,” is the decimal sign",
    ),
    "no offsets": (changed(first_seen="2026-03-02 10:00:00"), declared(), "times without an offset are read as UTC"),
    "offsets of hours": (changed(first_seen=lambda n: f"2026-03-0{2 + n % 2} 10:00:00+00"), declared(), "2,000 rows"),
    "two offsets": (changed(first_seen=lambda n: f"2026-03-02T10:00:00+0{n % 2}:00"), declared(), "are all converted to UTC"),
    "seconds since 1970": (changed(first_seen=1772452800), declared(columns={"time": "first_seen"}), "seconds since 1970"),
    "a few of no variant": (
        changed(variant=lambda n: "" if n == 3 else ("control", "treatment")[n % 2]),
        declared(), "1 row without a variant assigns nobody",
    ),
    "a few of the variant nan": (
        changed(variant=lambda n: "nan" if n == 3 else ("control", "treatment")[n % 2]), None,
        "1 row without a variant assigns",
    ),
    "a few of no unit": (changed(user_id=lambda n: "" if n == 3 else f"u{n}"), declared(), "1 row without a unit is left out"),
    "a few of another variant": (
        changed(variant=lambda n: "debug" if n == 3 else ("control", "treatment")[n % 2]),
        declared(), "1 row of variants that were not declared",
    ),
    "a few in the future": (
        changed(first_seen=lambda n: "2031-01-01T00:00:00Z" if n == 3 else "2026-03-02T00:00:00Z"),
        declared(), "or in the future, are left out",
    ),
    "other letters' case": (changed(variant=lambda n: ("Control", " TREATMENT")[n % 2]), declared(), "2,000 rows"),
    "rows twice": (units(1000) * 2, declared(), "equal in every column, are left out"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read_and_said(read, case):
    rows, design, words = READ[case]
    analysis = read(rows, design=design)
    said = [*analysis["reading"]["sentences"], *analysis["warnings"]]
    assert any(words in sentence for sentence in said), said


def test_rows_that_are_there_twice_count_once(read):
    once = read(units(1000), design=declared())
    twice = read(units(1000) * 2, design=declared())
    assert twice["effects"][0]["relative"] == pytest.approx(once["effects"][0]["relative"])
    assert twice["units"] == once["units"] == 1000


PUBLISHED = {
    "version and retention": (
        {"userid": range(400), "version": ["gate_30", "gate_40"],
         "sum_gamerounds": range(400), "retention_1": [True, False, False],
         "retention_7": [False, False, True]},
        ("version", "retention_7", "proportion", "userid"),
    ),
    "a test group with blanks in its names": (
        {"": range(400), "user id": range(1000, 1400), "test group": ["ad", "psa"], "converted": [True, False, False],
         "total ads": range(400)},
        ("test group", "converted", "proportion", "user id"),
    ),
    "the variant is called segment": (
        {"recency": range(400), "zip_code": ["Rural", "Urban"], "segment": ["Mens E-Mail", "Womens E-Mail", "No E-Mail"],
         "visit": [0, 0, 1, 1], "conversion": [0, 0, 0, 1], "spend": [0, 0, 0, 12.5]},
        ("segment", "conversion", "proportion", None),
    ),
    "a treatment of 0 and 1 beside features": (
        {"f0": [0.5, 1.5], "f1": range(400), "treatment": [1, 1, 0], "conversion": [0, 1, 0, 0, 0], "visit": [0, 1, 1, 0, 0]},
        ("treatment", "conversion", "proportion", None),
    ),
    "promotions in stores": (
        {"MarketID": [1, 2], "LocationID": range(201), "Promotion": [1, 2, 3], "week": [1, 2],
         "SalesInThousands": [33.5, 47.25, 50.0]},
        ("Promotion", "SalesInThousands", "mean", "LocationID"),
    ),
    "counts with money beside them": (
        {"Campaign Name": ["Control Campaign", "Test Campaign"], "Spend [USD]": [2000, 2100],
         "# of Impressions": [80000, 80100],
         "# of Website Clicks": [7000, 7100], "# of Purchase": [600, 640]},
        ("Campaign Name", "of Purchase", "proportion", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PUBLISHED)
def test_columns_of_published_logs_are_recognized(read, case):
    columns, (variant, primary, kind, unit) = PUBLISHED[case]
    rows = [{name: values[number % len(values)] for name, values in columns.items()} for number in range(400)]
    if "# of Purchase" in columns:
        rows = rows[:20]
    analysis = read(rows)
    said = " ".join(analysis["reading"]["sentences"])
    assert f"Variant: {variant} (" in said
    assert (analysis["effects"][0]["metric"], analysis["effects"][0]["kind"]) == (primary, kind)
    assert unit is None or f"({unit})" in said or f"units by {unit}" in said


def events(count=1500):
    rows = []
    for row in units(count):
        common = {"user_id": row["user_id"], "variant": row["variant"], "at": row["first_seen"]}
        rows += [{**common, "event": "view", "latency_ms": "80"}] + [{**common, "event": "purchase", "latency_ms": "95"}] * row[
            "converted"
        ]
    return rows


def test_events_logged_twice_count_once(read):
    rows = events()
    once = read(rows)
    twice = read(rows + rows[:500])
    assert any("equal in every column, are left out" in sentence for sentence in twice["reading"]["sentences"])
    assert twice["effects"][0]["relative"] == pytest.approx(once["effects"][0]["relative"])


def test_latencies_below_zero(analyze):
    rows = events()
    rows[5]["latency_ms"] = "-4"
    design = declared(
        primary={"name": "slow", "kind": "slow_share", "column": "latency_ms", "threshold": 90, "direction": "decrease"}
    )
    result, _ = analyze(rows, design=design)
    assert result.units == 1500
    for row in rows[:200]:
        row["latency_ms"] = "-4"
    with pytest.raises(InputError, match="negative latenc"):
        analyze(rows, design=design)


@pytest.mark.parametrize("nothing", ["", "NaN", "null"])
def test_missing_outcomes_are_left_out_and_compared(read, nothing):
    rows = changed(spend=lambda n: nothing if n % 10 == 0 else n)
    analysis = read(rows, design=declared(primary={"name": "spend", "kind": "mean"}))
    (loss,) = [check for check in analysis["checks"] if check["name"] == "loss of outcomes by variant"]
    assert "200 units without a value" in loss["sentence"]
    assert sum(analysis["effects"][0]["units"]) == 1800


def test_outcomes_lost_in_one_variant_make_it_invalid(analyze):
    rows = units(6000)
    for number, row in enumerate(rows):
        row["spend"] = "" if row["variant"] == "treatment" and number % 8 == 0 else row["spend"]
    result, _ = analyze(rows, design=declared(primary={"name": "spend", "kind": "mean"}))
    assert (result.verdict, "Loss of outcomes by variant" in result.sentence) == ("invalid", True)


@pytest.mark.parametrize(("on", "verdict"), [("2026-03-10", "keep running"), ("2026-04-01", "do not ship")])
def test_no_outcome_at_all(analyze, on, verdict):
    rows = [row for row in changed(converted=0) if row["first_seen"][:10] <= on]
    result, analysis = analyze(rows, design=declared(), on=on)
    assert (result.verdict, "No unit of either variant has converted yet" in result.sentence) == (verdict, True)
    assert analysis["effects"][0]["relative"]["low"] == -1.0


def test_few_outcomes_are_judged_by_exact_counts(analyze):
    rows = units(4000)
    for number, row in enumerate(rows):
        row["converted"] = int(number < 40 and row["variant"] == "treatment")
    result, analysis = analyze(rows, design=declared())
    assert analysis["effects"][0]["exact"]
    assert 0 < analysis["effects"][0]["pvalue"] < 0.0001
    assert result.verdict == "ship"
    running, _ = analyze([row for row in rows if row["first_seen"] < "2026-03-13"], design=declared(), on="2026-03-12")
    assert running.verdict == "ship"


def test_units_in_two_variants(analyze):
    rows = units(2000)
    few = [{**row, "variant": "control" if row["variant"] == "treatment" else "treatment"} for row in rows[:20]]
    result, analysis = analyze(rows + few, design=declared())
    assert result.verdict != "invalid"
    assert any("20 units (1.00%) are in two variants and left out" in warning for warning in analysis["warnings"])
    assert analysis["units"] == 1980
    many = [{**row, "variant": "control" if row["variant"] == "treatment" else "treatment"} for row in rows[:200]]
    assert analyze(rows + many, design=declared())[0].verdict == "invalid"


def test_exposures_before_the_start(analyze):
    result, _ = analyze(units(2000), design=declared(start="2026-03-04"))
    assert (result.verdict, "Exposures before the start" in result.sentence) == ("invalid", True)


def test_weights_that_were_not_declared_are_not_guessed(analyze):
    result, analysis = analyze(units(4000, share=0.8))
    assert result.verdict != "invalid"
    assert any("No weights were declared" in warning for warning in analysis["warnings"])
    declared_ones = declared(variants={"control": 1, "treatment": 4})
    assert analyze(units(4000, share=0.8), design=declared_ones)[0].verdict != "invalid"
    assert analyze(units(4000, share=0.8), design=declared())[0].verdict == "invalid"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "which is no YAML"),
        ("[]", "which holds no keys"),
        ("id: x", "without variants"),
        ("id: x\nvariants: {a: 1, b: 1}\nprimary: {name: y}\ncolour: red", "unknown key 'colour'"),
        ("id: x\nvariants: {a: 1}\nprimary: {name: y}", "at least 2 items"),
        ("id: x\nvariants: {a: 1, b: 0}\nprimary: {name: y}", "weights above 0"),
        ("id: x\nvariants: {a: 1, b: 1}\nprimary: {name: y}\nguardrails: [{name: z}]", "a margin for each guardrail"),
        (
            "id: x\nvariants: {a: 1, b: 1}\nprimary: {name: y}\nstart: 2026-03-02\nplanned_stop: 2026-03-01",
            "a planned_stop after start",
        ),
    ],
)
def test_declarations_that_say_nothing(write, tmp_path, content, words):
    path = tmp_path / "experiment.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        call("analyze", log=write("log.csv", units(100)), experiment=str(path), on=ON)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "pass --log FILE"),
        ({"log": "/nowhere/log.csv"}, "/nowhere/log.csv"),
        ({"log": "LOG", "on": "yesterday"}, "--on 'yesterday'"),
        ({"log": "LOG", "report": "/nowhere/report.html"}, "a file in a folder that exists"),
    ],
)
def test_options(write, options, words):
    options = {key: write("log.csv", units(100)) if value == "LOG" else value for key, value in options.items()}
    with pytest.raises(InputError, match=words):
        call("analyze", **options)


def test_exit_codes_without_a_traceback(write, tmp_path):
    def run(*arguments):
        return subprocess.run(
            warm.command("-m", "pipelines", *arguments), capture_output=True, text=True, timeout=60, check=False
        )

    bad = run("analyze", "--log", write("log.csv", changed(20, variant="control")))
    empty = run("find_experiments", "--folder", str(tmp_path / "none"))
    assert (bad.returncode, empty.returncode) == (2, 2)
    assert "Traceback" not in bad.stderr + empty.stderr
    with pytest.raises(NothingToDo):
        call("find_experiments", folder="")
