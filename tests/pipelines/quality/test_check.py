"""The step check on corpora and logs, sound and not: with the real Great Expectations and the real Presidio."""

import json
import os
import re
import subprocess

import pytest

from pipelines import logs
from pipelines.corpus.event_log import ship
from pipelines.errors import InputError
from pipelines.settings import settings
from pipelines.store.artifacts import committed, load, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests import warm
from tests.conftest import PROJECT, call
from tests.pipelines.quality.conftest import DAY, HOSTILE, check_of, click, document, exposure, sound

QUIET = {"on": DAY, "personal": 0}


def checks(report):
    return load(open_store(), "report", report).json("checks.json")


def outcome(report, table, expectation, column):
    found = [one for one in checks(report)["checks"] if (one["table"], one["expectation"]) == (table, expectation)]
    return next(one for one in found if column in one["kwargs"].values())


def refused(**values):
    """The message, and the report that stays."""
    before = set(committed(open_store(), "report"))
    with pytest.raises(InputError) as error:
        call("check", **values)
    (report,) = set(committed(open_store(), "report")) - before
    assert report in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value), report


def test_sound_corpus_passes_and_is_found_again(corpus_of):
    corpus = corpus_of(**sound())
    first = call("check", corpus=corpus, on=DAY, personal=20)
    assert (first.passed, first.warned, first.failed, first.proposed, first.found) == (True, 0, 0, 0, False), first
    assert "no check failed, 0 warned" in first.sentence
    again = call("check", corpus=corpus, on=DAY, personal=20)
    assert (again.report, again.found) == (first.report, True)
    assert call("check", corpus=corpus, on="2026-03-11", personal=20).report != first.report
    page = load(open_store(), "report", first.report).text("report.html")
    assert "Every check that counts" in page
    assert "Length of documents" in page
    assert checks(first.report)["languages"] == {"en": 40}


def test_same_suite_elsewhere_is_the_same_check(corpus_of, suite_of):
    corpus, listed = corpus_of(**sound()), [check_of("expect_column_values_to_be_unique", column="id")]
    path = suite_of(documents=listed)
    first = call("check", corpus=corpus, suite=path, **QUIET)
    text = (PROJECT / path).read_text()
    (PROJECT / path).write_text("# said otherwise\n" + text)
    assert call("check", corpus=corpus, suite=path, **QUIET).report == first.report
    (PROJECT / path).write_text(text.replace("fail", "warn"))
    assert call("check", corpus=corpus, suite=path, **QUIET).report != first.report


def test_suite_of_the_environment(corpus_of, suite_of, monkeypatch):
    corpus = corpus_of(**sound())
    path = suite_of(documents=[check_of("expect_table_row_count_to_be_between", min_value=1000)])
    monkeypatch.setenv("RATCHET_SUITE", path)
    refused(corpus=corpus, **QUIET)
    assert call("check", corpus=corpus, suite="default", **QUIET).passed


def test_everything_that_can_be_wrong_with_a_corpus(corpus_of):
    given = sound()
    given["documents"] += [
        document(0),
        {"id": "empty", "text": ""},
        {"id": "number", "text": 7},
        "no json",
        '{"text": "no id"}',
        "[]",
    ]
    given["queries"] += [
        {"id": "q0", "text": "lamp for desk 0", "split": "dev"},
        {"id": "long", "text": "x" * 600, "split": "test"},
    ]
    given["qrels"] += "q9 0 d0 1\nq0 0 d99 1\nq0 0 d1 99\nq0 0 d1 -1\nq1 0 d1 2.5\nnonsense\n"
    message, report = refused(corpus=corpus_of(**given), **QUIET)
    assert len(re.findall(r"expect_", message)) == 5
    assert re.search(
        r"of which \d+ checks failed: documents\.id expect_column_values_to_be_unique: 2 of 43 \(4\.65 %\), such as d0", message
    )
    assert re.search(r"and \d+ more", message)
    assert f"/ratchet/reports/report/{report}" in message
    expected = {
        ("documents", "expect_column_values_to_be_unique", "id"): ("failed", 2, ["d0"]),
        ("documents", "expect_column_values_to_be_between", "characters"): (
            "failed", 2, ["empty (characters 0)", "number (characters 0)"],
        ),
        ("queries", "expect_column_values_to_be_unique", "content"): ("warned", 2, ["q0"]),
        ("queries", "expect_column_values_to_be_in_set", "split"): ("failed", 1, ["q0 (split dev)"]),
        ("qrels", "expect_column_values_to_be_in_set", "known_query"): ("failed", 1, ["q9 d0"]),
        ("qrels", "expect_column_values_to_be_in_set", "known_document"): ("failed", 1, ["q0 d99"]),
        ("qrels", "expect_column_values_to_not_be_null", "grade"): ("failed", 1, ["q1 d1 (grade None)"]),
        ("qrels", "expect_column_values_to_be_between", "grade"): ("failed", 2, ["q0 d1 (grade 99)", "q0 d1 (grade -1)"]),
        ("queries", "expect_column_values_to_be_between", "judgments"): ("warned", 1, ["long (judgments 0)"]),
        ("files", "expect_column_values_to_be_between", "bad_share"): ("failed", 2, None),
    }  # fmt: skip
    for key, (status, unexpected, examples) in expected.items():
        found = outcome(report, *key)
        assert (found["status"], found["unexpected"]) == (status, unexpected), (key, found)
        assert examples is None or found["examples"] == examples, (key, found)
    files = {one["name"]: one for one in checks(report)["files"]}
    assert files["documents.jsonl"]["first"] == [[44, "no JSON"], [45, "no id"], [46, "no JSON object"]]
    assert files["qrels.txt"]["first"] == [[10, "not four fields"]]


def test_failed_report_is_found_and_refuses_again(corpus_of):
    corpus = corpus_of(documents=[document(0), document(0)])
    message, _ = refused(corpus=corpus, **QUIET)
    count = len(committed(open_store(), "report"))
    with pytest.raises(InputError) as again:
        call("check", corpus=corpus, **QUIET)
    assert str(again.value) == message
    assert len(committed(open_store(), "report")) == count


@pytest.mark.parametrize("given", [{}, {"documents": [document(0)]}, {"queries": [{"id": "q", "text": "x", "split": "test"}]}])
def test_empty_tables(corpus_of, given):
    corpus = corpus_of(**given)
    if "documents" not in given:
        message, report = refused(corpus=corpus, **QUIET)
        assert "1 check failed: documents expect_table_row_count_to_be_between: observed 0" in message
    else:
        report = call("check", corpus=corpus, **QUIET).report
        assert outcome(report, "corpus", "expect_column_min_to_be_between", "language_share")["status"] == "not run"
    assert outcome(report, "qrels", "expect_column_values_to_be_in_set", "known_query")["why_not"] == "no rows"


def test_nothing_that_counts_is_not_passed(corpus_of, suite_of):
    suite = suite_of(documents=[{**check_of("expect_table_row_count_to_be_between", min_value=1000), "reviewed": False}])
    result = call("check", corpus=corpus_of(**sound()), suite=suite, **QUIET)
    assert (result.passed, result.failed, result.proposed) == (False, 0, 1)
    assert load(open_store(), "report", result.report).facts["outcome"] == "not run"
    page = load(open_store(), "report", result.report).text("report.html")
    assert "Not counted, waiting for review" in page
    assert "would not pass" in page


def test_hostile_texts_are_data(corpus_of, suite_of):
    documents = [{"id": text.replace(" ", "_"), "text": f"{text} " * 10, "title": text, "segment": text} for text in HOSTILE]
    queries = [{"id": text.replace(" ", "_"), "text": text, "split": "test"} for text in HOSTILE]
    ids = [text.replace(" ", "_") for text in HOSTILE if not set(text) & {"\n", "\ud800"}]
    qrels = "".join(f"{one} 0 {one} 1\n" for one in ids)
    suite = suite_of(
        documents=[
            check_of("expect_column_values_to_be_in_set", column="segment", value_set=["'; DROP TABLE documents; --", "lamps"]),
            check_of("expect_column_values_to_not_match_regex", column="text", regex="lamp|a", level="warn"),
            check_of("expect_column_distinct_values_to_be_in_set", column="segment", value_set=["lamps"]),
            check_of("expect_table_row_count_to_equal", value=len(HOSTILE)),
        ],
        qrels=[check_of("expect_column_values_to_be_in_set", column="known_document", value_set=[1])],
    )
    corpus = corpus_of(
        documents=documents, queries=queries, qrels=qrels, users=[{"id": "u", "fields": {HOSTILE[0]: HOSTILE[2]}}]
    )
    message, report = refused(corpus=corpus, suite=suite, on=DAY, personal=20)
    assert message.isprintable()
    assert "of which 2 checks failed" in message
    assert outcome(report, "documents", "expect_table_row_count_to_equal", len(HOSTILE))["status"] == "passed"
    assert outcome(report, "qrels", "expect_column_values_to_be_in_set", "known_document")["status"] == "passed"
    page = load(open_store(), "report", report).text("report.html")
    assert "<script>" not in page
    assert "\u202e" not in page
    assert "\u2028" not in page
    assert "\x1b" not in page


def test_texts_and_people_are_never_shown(corpus_of, suite_of, capsys, caplog):
    secret = "Secret words of ann.smith@example.org"
    suite = suite_of(
        documents=[check_of("expect_column_values_to_not_match_regex", column=name, regex="^S") for name in ("text", "title")],
        users=[check_of("expect_column_values_to_match_regex", column="id", regex="^[0-9]+$")],
        user_fields=[check_of("expect_column_distinct_values_to_be_in_set", column="value", value_set=["a"])],
        interactions=[check_of("expect_column_values_to_be_in_set", column="user", value_set=["a"])],
    )
    user = "ann.smith@example.org"
    corpus = corpus_of(
        documents=[{"id": "d0", "text": secret, "title": secret}],
        users=[{"id": user, "fields": {"phone": "+44 20 7946 0958"}}],
        interactions=[{"user": user, "document": "d0", "time": 1}],
    )
    logs.configure(settings(), "check")  # whatever ran before in this process
    message, report = refused(corpus=corpus, suite=suite, on=DAY, personal=10)
    artifact = load(open_store(), "report", report)
    logged = "".join(capsys.readouterr()) + caplog.text
    assert "checks failed" in logged
    everything = logged + message + artifact.text("report.html") + artifact.text("report.json") + artifact.text("checks.json")
    for word in ("Secret", "ann.smith", "7946"):
        assert word not in everything
    assert "d0: xxx.xxxxx@xxxxxxx.xxx" in everything
    assert "line 1: +99 99 9999 9999" in everything
    personal = {(one["part"], one["kind"]): one["texts"] for one in checks(report)["personal"] if one["texts"] and one["sure"]}
    assert personal == {("documents", "EMAIL_ADDRESS"): 1, ("user ids", "EMAIL_ADDRESS"): 1, ("user fields", "PHONE_NUMBER"): 1}


def test_personal_ids_and_segments_are_found(corpus_of):
    people = [f"person{number}@example.org" for number in range(30)]
    rows = [
        {"id": person, "text": f"Lamp {number} is broken", "segment": f"{'abe'[number % 3]}nn@example.org"}
        for number, person in enumerate(people)
    ]
    corpus = corpus_of(documents=rows, queries=[{"id": "+44 20 7946 0958", "text": "lamp", "split": "test"}])
    result = call("check", corpus=corpus, on=DAY, personal=100)
    personal = {
        (row["part"], row["kind"]): row["texts"] for row in checks(result.report)["personal"] if row["texts"] and row["sure"]
    }
    assert personal == {
        ("document ids", "EMAIL_ADDRESS"): 30,
        ("segments", "EMAIL_ADDRESS"): 3,
        ("query ids", "PHONE_NUMBER"): 1,
    }
    assert result.warned >= 1


def test_codes_that_hold_digits_are_no_personal_data(corpus_of):
    rows = [{"id": f"SKU-40063813339{number:02}", "text": f"Lamp {number}", "segment": "Lamps 2024"} for number in range(30)]
    assert not [
        row
        for row in checks(call("check", corpus=corpus_of(documents=rows), on=DAY).report)["personal"]
        if row["texts"] and row["sure"]
    ]


def test_interactions(corpus_of):
    fine = [{"user": f"u{number % 3}", "document": f"d{number}", "time": 1_700_000_000 + number} for number in range(40)]
    users = [{"id": f"u{number}", "fields": {"age": "31"}} for number in range(3)]
    given = {**sound(), "users": users}
    assert call("check", corpus=corpus_of(**given, interactions=fine), **QUIET).warned == 0
    bad = [
        {"user": user, "document": document, "time": time, "value": value}
        for user, document, time, value in (
            ("u9", "d0", 1, 1), ("u0", "gone", 2, 1), ("u0", "d0", 10**12, 1), ("u0", "d0", "x", 1),
            ("u0", "d0", 10**30, float("nan")),
        )
    ]  # fmt: skip
    message, report = refused(corpus=corpus_of(**given, interactions=[*fine, *bad]), **QUIET)
    for words in ("known_document", "interactions.time expect_column_values_to_not_be_null: 2 of 45", "interactions.days_old"):
        assert words in message
    assert outcome(report, "interactions", "expect_column_values_to_be_in_set", "known_user")["examples"] == ["line 41"]


def serve(corpus):
    """Let a release of this corpus be champion, as far as the journal and the store know."""
    store = open_store()
    recipe = Recipe(kind="release", step="assemble", version=1, inputs={"corpus": corpus}, params={})
    release = produce(store, recipe, lambda folder: {}).id
    Journal(store).append("deploy", release, "a test", Routing(champion=release))


def test_volume_against_the_corpus_that_serves(corpus_of):
    small, near, large = (corpus_of(**sound(count)) for count in (40, 48, 100))
    assert (
        outcome(call("check", corpus=near, **QUIET).report, "corpus", "expect_column_min_to_be_between", "documents_ratio")[
            "status"
        ]
        == "not run"
    )
    serve(small)
    first = call("check", corpus="champion", **QUIET)
    assert (first.corpus, checks(first.report)["previous"]) == (small, "")
    assert call("check", corpus=near, **QUIET).warned == 0  # 1.2
    serve(large)
    message, report = refused(corpus=near, **QUIET)
    assert "1 check failed: corpus.documents_ratio expect_column_min_to_be_between: observed 0.48" in message
    assert checks(report)["previous"] == large
    assert checks(call("check", corpus="champion", **QUIET).report)["previous"] == small
    assert call("check", corpus=near, previous="none", **QUIET).failed == 0
    assert call("check", corpus=near, previous=corpus_of(**sound(39)), **QUIET).warned == 1
    page = load(open_store(), "report", report).text("report.html")
    assert "Rows, beside the version before" in page


def test_sound_logs_with_and_without_a_corpus(corpus_of, logs_of):
    logs = logs_of([exposure(number) for number in range(30)], [click(0), click(1)])
    for corpus in (corpus_of(**sound()), "none"):
        result = call("check", corpus=corpus, exposures=logs, **QUIET)
        assert (result.passed, result.warned, result.failed) == (True, 0, 0), result.sentence
    assert outcome(result.report, "documents", "expect_column_values_to_be_unique", "id")["why_not"] == "no corpus was given"
    assert outcome(result.report, "shown", "expect_column_values_to_be_in_set", "known_document")["status"] == "not run"
    assert call("check", corpus="none", exposures=logs, on="2026-03-20", personal=0).warned == 1


def test_server_logs_are_found(home, logs_of, monkeypatch):
    monkeypatch.setenv("RATCHET_EVENTS", logs_of([exposure(0)]))
    assert call("check", corpus="none", exposures="server", **QUIET).passed
    ship(open_store(), settings().events)
    with (settings().events / "exposures.jsonl").open("w") as written:
        written.write(json.dumps(exposure(1)) + "\n")
    report = call("check", corpus="none", exposures="server", **QUIET).report
    assert {file["name"]: file["lines"] for file in checks(report)["files"]}["exposures.jsonl"] == 2, "of both places"


def test_everything_that_can_be_wrong_with_logs(corpus_of, logs_of):
    def shown(**fields):
        return [{"document": "d0", "position": 1, "score": 0.5, "propensity": 1.0, **fields}]

    exposures = [
        *(exposure(number) for number in range(10)),
        exposure(0), exposure(20, at="2026-03-10T12:00:00"), exposure(21, at="2030-01-01T00:00:00Z"),
        exposure(22, policy="intern"), exposure(23, results=shown(propensity=0)), exposure(24, results=shown(propensity=1.5)),
        exposure(25, results=shown(propensity="high")), exposure(26, results=shown(position=0)),
        exposure(27, results=shown() + shown(document="d1")), exposure(28, results=shown(document=None)),
        exposure(29, results=shown(propensity=float("nan"), score=float("inf"))), exposure(30, results=shown(position=2**70)),
        exposure(31, query="\ud800"), exposure(32, results=[]),
        exposure(33, results="none"), "", "{", '{"request_id": "r"', "[" * 100_000, '"text"', '{"results": []}', "\x00",
    ]  # fmt: skip
    clicks = [click(0), click(99), click(1, position=2), click(1, document="d7"), click(1, at="yesterday"), "torn {"]
    logs = logs_of(exposures, clicks, tail='{"request_id": "torn", "at": "2026-')
    message, report = refused(corpus=corpus_of(**sound()), exposures=logs, **QUIET)
    expected = {
        ("exposures", "expect_column_values_to_be_unique", "request_id"): ("failed", 2),
        ("exposures", "expect_column_values_to_not_be_null", "days_old"): ("failed", 1),
        ("exposures", "expect_column_values_to_be_between", "days_old"): ("failed", 1),
        ("exposures", "expect_column_values_to_be_in_set", "policy"): ("failed", 1),
        ("exposures", "expect_column_values_to_be_in_set", "distinct_positions"): ("failed", 2),
        ("shown", "expect_column_values_to_be_between", "position"): ("failed", 1),
        ("shown", "expect_column_values_to_be_between", "propensity"): ("failed", 2),
        ("shown", "expect_column_values_to_not_be_null", "propensity"): ("failed", 2),
        ("shown", "expect_column_values_to_not_be_null", "document"): ("failed", 1),
        ("clicks", "expect_column_values_to_be_in_set", "known_exposure"): ("failed", 1),
        ("clicks", "expect_column_values_to_be_in_set", "was_shown"): ("failed", 3),
        ("files", "expect_column_values_to_be_in_set", "cut_off"): ("warned", 1),
    }  # fmt: skip
    for key, found in expected.items():
        assert (outcome(report, *key)["status"], outcome(report, *key)["unexpected"]) == found, (key, outcome(report, *key))
    files = {one["name"]: one for one in checks(report)["files"]}
    assert files["exposures.jsonl"] == {
        "name": "exposures.jsonl", "lines": 33, "bad": 8, "cut_off": True,
        "first": [
            [25, "results that are no list of objects"], [27, "no JSON"], [28, "no JSON"], [29, "no JSON"],
            [30, "no JSON object"],
        ],
    }  # fmt: skip
    assert files["clicks.jsonl"]["bad"] == 1
    assert "line 11" in message


def test_values_that_fit_no_column():
    from pipelines.quality.rows import integer_or_null, number_or_null, text_or_null, time_or_null

    assert [number_or_null(value) for value in (1, 0.5, True, "1", float("inf"), float("nan"), 10**400)] == [
        1.0,
        0.5,
        *[None] * 5,
    ]
    assert [integer_or_null(value) for value in (7, 2**63 - 1, 2**63, True, 1.0, "7")] == [7, 2**63 - 1, *[None] * 4]
    assert [text_or_null(value) for value in ("a", "\ud800é", "", 7, None)] == ["a", "?é", None, None, None]
    assert [time_or_null(value) is None for value in ("2026-03-10T12:00:00Z", "2026-03-10T12:00:00", "soon", 7)] == [
        False,
        *[True] * 3,
    ]


def test_a_line_without_an_end_does_not_fill_memory(tmp_path, monkeypatch):
    from pipelines.quality import loading
    from pipelines.quality.staging import FileTally

    monkeypatch.setattr(loading, "LONGEST", 50)
    path = tmp_path / "log"
    path.write_bytes(b'{"a": 1}\n' + b"x" * 1000 + b'\n{"b": 2}\n' + b"y" * 70)
    tally = FileTally("log")
    assert list(loading.lines_of(path, tally, path.stat().st_size)) == [(1, b'{"a": 1}\n'), (3, b'{"b": 2}\n')]
    assert (tally.lines, tally.bad, tally.first) == (4, 2, [(2, "too long"), (4, "too long")])
    assert [line for _, line in loading.lines_of(path, FileTally("log"), 4)] == [b'{"a"']


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"corpus": "none"}, ["--corpus none without --exposures"]),
        ({"corpus": "feedfeed"}, ["corpus 'feedfeed'"]),
        ({"corpus": "champion"}, ["a champion, and there is none yet"]),
        ({"corpus": "none", "exposures": "/nowhere"}, ["--exposures /nowhere without exposures.jsonl"]),
        ({"corpus": "none", "exposures": "server"}, ["without exposures.jsonl"]),
        ({"corpus": "none", "exposures": "."}, ["without exposures.jsonl"]),
        ({"corpus": "none", "exposures": ".", "suite": "/nowhere.yaml"}, ["suite /nowhere.yaml", "YAML file that can be read"]),
        ({"corpus": "none", "exposures": ".", "suite": "/tmp"}, ["suite /tmp"]),
    ],
)  # fmt: skip
def test_what_can_not_be_checked(home, values, words):
    with pytest.raises(InputError) as error:
        call("check", **values)
    assert all(word in str(error.value) for word in words), error.value


def test_conditions_on_rows(corpus_of, suite_of):
    corpus = corpus_of(**sound())
    fine = {"column": "characters", "max_value": 10, "row_condition": 'col("segment") == "no; DROP TABLE documents"'}
    suite = suite_of("fine", documents=[check_of("expect_column_values_to_be_between", **fine)])
    assert not call("check", corpus=corpus, suite=suite, **QUIET).passed  # no row fits the condition, so nothing was checked
    asked = {**fine, "row_condition": 'col("segment") == "lamps"'}
    with pytest.raises(InputError, match=r"documents\.characters .*: 40 of 40"):
        call(
            "check",
            corpus=corpus,
            suite=suite_of("asked", documents=[check_of("expect_column_values_to_be_between", **asked)]),
            **QUIET,
        )
    wrong = {**fine, "row_condition": "1=1); DROP TABLE documents"}
    with pytest.raises(InputError, match=r"wrong.yaml line 3: .*: unable to parse condition"):
        call(
            "check",
            corpus=corpus,
            suite=suite_of("wrong", documents=[check_of("expect_column_values_to_be_between", **wrong)]),
            **QUIET,
        )


def test_users_are_scanned_where_only_interactions_name_them(corpus_of):
    chosen = [{"user": "ann.smith@example.org", "document": "d0", "time": 1}] * 3
    report = call("check", corpus=corpus_of(**sound(), interactions=chosen), on=DAY, personal=5).report
    found = [(one["part"], one["scanned"], one["texts"]) for one in checks(report)["personal"] if one["texts"] and one["sure"]]
    assert found == [("user ids", 1, 1)]


def test_bad_day_and_bad_suite(corpus_of, suite_of):
    corpus = corpus_of(**sound())
    with pytest.raises(InputError, match="--on 'soon'"):
        call("check", corpus=corpus, on="soon")
    with pytest.raises(InputError, match=r"ours.yaml line 3: expect_column_values_to_match_regex can't be evaluated"):
        call(
            "check",
            corpus=corpus,
            suite=suite_of(documents=[check_of("expect_column_values_to_match_regex", column="words", regex="a")]),
            **QUIET,
        )
    assert committed(open_store(), "report") == []


def test_command_is_one_sentence_and_leaves_no_file(corpus_of, tmp_path):
    """As a user runs it, with a scratch folder of a name that other programs read something into."""
    corpus = corpus_of(documents=[document(0), document(0)])
    folder, scratch = tmp_path / "elsewhere", tmp_path / "we ird $HOME #?%41"
    folder.mkdir()
    scratch.mkdir()
    given = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(PROJECT), "RATCHET_LOG_FORMAT": "json"}
    command = warm.command("-m", "pipelines", "check", corpus, "--on", DAY, "--personal", "0")
    answer = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    *logged, last = answer.stderr.splitlines()
    assert re.fullmatch(r"error: given corpus \w+, of which 1 check failed: .+; expected .+; next: read report .+", last), last
    assert {json.loads(line)["level"] for line in logged} == {"info", "warning"}
    assert [*folder.iterdir(), *scratch.iterdir()] == []
