"""Snapshots and reports through the steps: logs, the server's own, days that are odd, and inputs that can't work."""

import csv
import json
import math
import random
import time

import numpy as np
import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.drift.days import past_of
from pipelines.drift.examples import changed_clusters
from pipelines.drift.probes import probe_table
from pipelines.drift.searches import OpenLog, Reading, open_log
from pipelines.drift.snapshot import read_sample, read_snapshot
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.gc import garbage
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder

WORDS = "red blue shoe boot lamp desk chair sofa cable printer paper toner screen mouse keyboard".split()


def corpus(seed=0, count=120, prefix="d", segment="shop"):
    drawn = random.Random(seed)
    documents = [
        Document(
            id=f"{prefix}{number:04d}",
            text=" ".join(drawn.choices(WORDS, k=6)),
            segment=segment if number % 3 else "other",
            facets={"price": str(10 + number)},
        )
        for number in range(count)
    ]
    queries = [Query(id=f"q{number}", text=" ".join(drawn.choices(WORDS, k=2)), split="test") for number in range(80)]
    return write_corpus(documents, queries)


def write_log(path, rows=400, rate=0.2, seed=0, column="device", **more):
    drawn = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "query", column, "click", *more])
        for _ in range(rows):
            device = drawn.choice(["phone", "desk", "desk"])
            click = int(drawn.random() < rate)
            writer.writerow([f"u{drawn.randrange(60)}", drawn.choice(WORDS), device, click, *more.values()])
    return str(path)


def artifact(kind, name):
    return load_exactly(open_store(), kind, name)


def test_a_snapshot_has_documents_queries_and_searches_and_is_found_again(home, tmp_path):
    given = {"corpus": corpus(), "encoder": static_encoder(), "log": write_log(tmp_path / "log.csv"), "day": "2026-01-05"}
    made = call("take_snapshot", **given)
    assert made.rows == {"documents": 120, "log_queries": 400, "searches": 400}
    snapshot = read_snapshot(artifact("snapshot", made.snapshot))
    assert {"segment", "price"} <= set(snapshot.sketches["documents"].columns)
    assert snapshot.sketches["searches"].numbers["clicked"][2] == 400
    assert set(snapshot.sketches["searches"].columns) == {"device"}
    rows, texts, vectors = read_sample(artifact("snapshot", made.snapshot), "documents")
    assert len(rows) == len(texts) == len(vectors) == 120
    assert np.allclose(rows.features.sum(0), snapshot.sketches["documents"].features, atol=1e-3)
    assert call("take_snapshot", **given).found


def test_queries_of_a_corpus_and_searches_of_a_log_are_never_compared(home, tmp_path):
    """Distinct queries and what users search for on a day differ always; that is no drift."""
    given = {"corpus": corpus(), "encoder": static_encoder()}
    then = call("take_snapshot", **given, day="2026-01-01")
    assert then.rows == {"documents": 120, "queries": 80}
    now = call("take_snapshot", **given, log=write_log(tmp_path / "log.csv"), day="2026-01-05").snapshot
    judged = call("judge_drift", current=now, reference=then.snapshot, evidently=False)
    assert judged.outcome == "quiet", judged.sentence
    signals = json.loads(artifact("drift", judged.drift).text("drift.json"))["signals"]
    assert signals
    assert not [change["name"] for change in signals if change["name"].endswith("queries")]
    method = json.loads(artifact("drift", judged.drift).text("report.json"))["method"]
    assert {"Today has no queries.", "The reference has no log_queries."} <= set(method)


def test_searches_are_not_paired_by_their_users(home, tmp_path):
    """A user searches for many things: two searches of a user are not the same row before and after."""
    given = {"corpus": corpus(), "encoder": static_encoder()}
    logs = [write_log(tmp_path / f"{seed}.csv", seed=seed) for seed in (1, 2)]
    days = [call("take_snapshot", **given, log=log, sample=100, day=f"2026-01-0{n + 1}").snapshot for n, log in enumerate(logs)]
    judged = call("judge_drift", current=days[1], reference=days[0], evidently=False)
    report = json.loads(artifact("drift", judged.drift).text("report.json"))
    moved = next(table for table in report["tables"] if table["title"] == "Rows of log_queries that moved most")
    assert moved["note"] == "The cosine to the nearest text before."
    texts = [row[1] for row in moved["rows"]]
    assert len(texts) == len(set(texts))
    sampling = artifact("snapshot", days[0]).facts["sampling"]["log_queries"]
    assert sampling.endswith("of 400, all rows of some users, by the hash of their names, seed 0")


def test_texts_may_have_the_line_ends_of_unicode(home):
    text = "red\u2028blue\x85shoe boot"
    made = call("take_snapshot", corpus=write_corpus([Document(id="d", text=text, segment="shop")], []), day="2026-01-05")
    assert [row["text"] for row in read_sample(artifact("snapshot", made.snapshot), "documents")[1]] == [text]


def test_a_sample_is_stratified_seeded_and_recorded(home):
    made = [call("take_snapshot", corpus=corpus(count=300), day="2026-01-05", sample=60, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (artifact("snapshot", one.snapshot) for one in made)
    assert first.id == again.id != other.id
    assert first.facts["sampling"]["documents"] == "60 of 300, in proportion to 2 strata, seed 1"
    counts = read_snapshot(first).sketches["documents"].columns["segment"]
    assert counts == {"other": 20, "shop": 40}
    assert [row["id"] for row in read_sample(first, "documents")[1]] != [
        row["id"] for row in read_sample(other, "documents")[1]
    ]


def test_a_log_is_of_what_its_columns_are_taken_for_too(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("a,b\n" + "".join(f"{n % 3},{n % 3}\n" for n in range(120)))
    db = open_log(str(path), tmp_path, "2026-01-05", Reading(), tmp_path / "scratch").db
    digests = {OpenLog(db, reading, []).digest() for reading in (Reading(columns=("a",)), Reading(columns=("b",)), Reading())}
    db.close()
    assert len(digests) == 3, "equal values of other columns, or none, are another log"


def test_a_snapshot_that_is_found_again_is_of_the_same_release(trained):
    given = {"corpus": trained.corpus, "sample": 50, "day": "2026-01-05"}
    alone = call("take_snapshot", **given, encoder=trained.encoder)
    made = call("take_snapshot", **given, release=trained.release)
    assert artifact("snapshot", alone.snapshot).facts["encoder"] == artifact("snapshot", made.snapshot).facts["encoder"]
    assert artifact("snapshot", made.snapshot).facts["release"] == trained.release
    assert call("take_snapshot", **given, release=trained.release).found


def test_clicks_may_be_true_and_false(home, tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [{"user_id": f"u{n}", "device": "desk" if n % 2 else "phone", "click": n % 4 == 0} for n in range(120)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = read_snapshot(artifact("snapshot", call("take_snapshot", log=str(path), day="2026-01-05").snapshot))
    assert made.sketches["searches"].numbers["clicked"] == (30.0, 30.0, 120.0)
    assert made.sketches["searches"].outcomes["device"]["clicked"] == {"desk": (0.0, 60.0), "phone": (30.0, 60.0)}


def test_a_column_that_is_only_called_like_clicks_is_not_taken_for_them(home, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,device,click\n" + "".join(f"u{n},{'desk' if n % 2 else 'phone'},0.4\n" for n in range(60)))
    made = artifact("snapshot", call("take_snapshot", log=str(path), day="2026-01-05").snapshot)
    assert read_snapshot(made).sketches["searches"].numbers == {}
    note = "Column click with 60 numbers, 60 of which are neither 0 nor 1: it is not taken for clicks."
    assert note in made.facts["notes"]


def test_the_servers_own_searches_are_those_of_the_day(home, tmp_path):
    events = home / "events"
    events.mkdir(parents=True)
    lines = []
    for number in range(120):
        day = "2026-01-05" if number < 90 else "2026-01-06"
        shown = [] if number % 30 == 0 else [{"document": "d1", "position": 1, "score": 0.5, "propensity": 1.0}]
        lines.append({
            "request_id": f"r{number}", "at": f"{day}T10:00:00Z", "user": f"u{number % 9}",
            "query": "shoe",
            "latency_ms": 20.0, "results": shown,
            "segment": {"country": "DE"}, "release": "x", "policy": "champion", "entry": 1,
        })  # fmt: skip
    lines += [{**lines[0], "request_id": f"replayed-{number}", "traffic": "replayed"} for number in range(50)]
    (events / "exposures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut off')
    (events / "clicks.jsonl").write_text("".join(
        json.dumps({"request_id": f"r{n}", "document": name, "position": 1}) + "\n"
        for name in ("d1", "never shown") for n in range(0, 120, 10)
    ))  # fmt: skip
    artifact_of_day = artifact("snapshot", call("take_snapshot", log="server", day="2026-01-05").snapshot)
    note = "Clicks on what their search did not show at that position, set aside: 12."
    assert note in artifact_of_day.facts["notes"]
    made = read_snapshot(artifact_of_day)
    searches = made.sketches["searches"]
    assert searches.rows == 90
    assert [searches.numbers[name][0] for name in ("clicked", "without results")] == [6, 3]
    assert searches.outcomes["segment country"]["clicked"] == {"DE": (6.0, 90.0)}
    empty = artifact("snapshot", call("take_snapshot", log="server", corpus=corpus(), day="2026-02-01").snapshot)
    assert "No searches that day." in empty.facts["notes"]


def write_events(home, shown):
    """The server's log of a day: a search for each list of documents with their scores, and whether it was clicked."""
    (home / "events").mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "request_id": f"r{number}", "at": "2026-01-05T10:00:00Z", "user": f"u{number}", "query": "shoe", "latency_ms": 20.0,
            "results": [{"document": name, "position": at, "score": score} for at, (name, score) in enumerate(results, 1)],
        }
        for number, (results, _) in enumerate(shown)
    ]  # fmt: skip
    clicks = [
        {"request_id": f"r{number}", "document": results[0][0], "position": 1}
        for number, (results, clicked) in enumerate(shown) if clicked
    ]  # fmt: skip
    for name, rows in (("exposures", lines), ("clicks", clicks)):
        (home / f"events/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_was_shown_is_told_by_its_gini_and_clicks_by_the_band_of_the_score(home):
    first, second = [("d1", 0.6), ("d2", 0.5)], [("d1", -3.0)]
    write_events(home, [*[(first, True)] * 60, *[(second, False)] * 40, ([], False)])
    made = call("take_snapshot", log="server", day="2026-01-05")
    searches = read_snapshot(artifact("snapshot", made.snapshot)).sketches["searches"]
    assert searches.numbers["gini"][0] == pytest.approx(0.125)  # of 100 and 60
    assert searches.outcomes["score band"]["clicked"] == {
        "0.5 to 0.71": (60.0, 60.0), "−2.8 to 4": (0.0, 40.0), "(none)": (0.0, 1.0),
    }  # fmt: skip
    write_events(home, [*[(first[:1], True)] * 60, *[(second, False)] * 40, ([], False)])
    other = call("take_snapshot", log="server", day="2026-01-05")
    assert other.snapshot != made.snapshot, "the same searches, clicks and scores, but other documents"


def test_probes_are_ranked_as_an_evaluation_ranks_them(home):
    drawn = random.Random(3)
    names = ["shop", "store", "both"]
    documents = [
        Document(id=f"d{n:03d}", text=" ".join(drawn.choices(WORDS, k=5)), segment=names[n % 3], facets={}) for n in range(90)
    ]
    queries = [Query(id=f"q{n:02d}", text=" ".join(drawn.choices(WORDS, k=2)), split="test") for n in range(60)]
    judged = [f"q{n:02d} 0 d{document:03d} 1" for n in range(60) for document in (n, n + 3, *([n + 1] if n < 20 else []))]
    made = write_corpus(documents, queries, judged)
    release = embedded_release(home, made, static_encoder()).release
    snapshot = artifact("snapshot", call("take_snapshot", corpus=made, release=release, day="2026-01-05").snapshot)
    probes = read_snapshot(snapshot).sketches["probes"]
    evaluated = call("evaluate", release=release)
    assert 0 < evaluated.ndcg_at_10 < 1
    assert probes.numbers["ndcg"][0] / 60 == pytest.approx(evaluated.ndcg_at_10, abs=1e-4)
    assert {name: count for name, (_, count) in probes.outcomes["segment"]["ndcg"].items()} == {
        "(several)": 20, "both": 14, "shop": 13, "store": 13,
    }  # fmt: skip


def test_queries_that_a_rule_made_are_no_probes(home):
    """They ask for documents of that day, which a release of a day before can't have."""
    made = [Query(id="q", text="red shoe", split="test", synthetic=True)]
    drawn = write_corpus([Document(id="d", text="red shoe")], made, ["q 0 d 1"])
    assert probe_table(None, artifact("corpus", drawn), 50, 0, 2048) is None


def test_days_that_are_twice_there_or_missing_are_named(home, tmp_path):
    made = []
    for day, rate in (("2026-01-01", 0.1), ("2026-01-01", 0.2), ("2026-01-02", 0.3), ("2026-01-05", 0.4)):
        log = write_log(tmp_path / "log.csv", rate=rate)
        made.append(artifact("snapshot", call("take_snapshot", log=log, day=day, series="daily").snapshot))
    past = past_of(open_store(), "daily", "2026-01-06", 60)
    assert [one.facts["day"] for one in past.snapshots] == ["2026-01-01", "2026-01-02", "2026-01-05"]
    youngest = max(made[:2], key=lambda one: (one.manifest.provenance["at"], one.id))
    assert [one.id for one in past.snapshots] == [youngest.id, made[2].id, made[3].id]
    assert "several snapshots, of which the youngest counts: 2026-01-01" in past.notes[0]
    assert "Days without a snapshot since 2026-01-01: 2" in past.notes[1]
    assert past_of(open_store(), "", "2026-01-06", 60).snapshots == [], "a snapshot without a series stands alone"


def test_after_two_weeks_days_are_the_null_and_the_report_has_their_trend(home, tmp_path):
    for number in range(1, 17):
        log = write_log(tmp_path / "log.csv", rate=0.2, seed=number, rows=800)
        before = call("take_snapshot", log=log, day=f"2026-01-{number:02d}", series="daily").snapshot
    quiet = call("judge_drift", current=before)
    assert quiet.outcome == "quiet", quiet.sentence
    log = write_log(tmp_path / "log.csv", rate=0.6, seed=50, rows=800)
    today = call("take_snapshot", log=log, day="2026-01-17", series="daily").snapshot
    judged = call("judge_drift", current=today, report=str(tmp_path / "drift.html"))
    assert (judged.outcome, judged.repairs) == ("act", ["page"])
    assert "clicked of searches: 6" in judged.sentence
    report = json.loads(artifact("drift", judged.drift).text("report.json"))
    assert len(report["pictures"][0]["numbers"]) == 17
    assert any("between days: today against 16 past days" in line for line in report["method"])
    assert "not compared: embeddings" in judged.sentence
    assert (tmp_path / "drift.html").read_text().count("<svg") == len(report["pictures"])
    trend = next(picture for picture in report["pictures"] if picture["title"] == "Trend of the last 2 reports")
    assert trend["numbers"].keys() == {"segments", "quality"}, "areas that were compared"
    usual, moved = trend["numbers"]["quality"]
    assert usual < 0.1
    assert moved > 0.3
    before = next(table for table in report["tables"] if table["title"] == "Reports of the days before")
    assert [row[:2] for row in before["rows"]] == [["2026-01-17", "act"], ["2026-01-16", "quiet"]]
    assert call("judge_drift", current=today).found, "a report has no part of itself"


def test_a_report_keeps_none_before_it_from_being_taken_away(home, tmp_path):
    """Else the queries that people asked on the first day would be kept as long as there is a report of any day."""
    log = write_log(tmp_path / "log.csv", rows=40)
    gone, reference = set(), call("take_snapshot", log=log, day="2025-12-31").snapshot
    for day in ("2026-01-01", "2026-01-02"):
        taken = call("take_snapshot", log=log, day=day, series="daily").snapshot
        gone.add(call("judge_drift", current=taken, reference=reference, evidently=False).drift)
    since = math.floor(time.time()) + 1
    time.sleep(since - time.time())
    taken = call("take_snapshot", log=log, day="2026-01-03", series="daily").snapshot
    last = artifact("drift", call("judge_drift", current=taken).drift)
    days = next(table for table in last.json("report.json")["tables"] if table["title"] == "Reports of the days before")
    assert [row[0] for row in days["rows"]] == ["2026-01-03", "2026-01-02", "2026-01-01"], "it has those before it"
    assert {one.id for one in garbage(open_store(), since, 60).artifacts} == {*gone, reference}


def test_what_only_one_side_has_is_read_and_named(home, tmp_path):
    then = call("take_snapshot", log=write_log(tmp_path / "a.csv"), day="2026-01-01").snapshot
    now = call("take_snapshot", log=write_log(tmp_path / "b.csv", column="browser"), day="2026-01-02").snapshot
    judged = call("judge_drift", current=now, reference=then, evidently=False)
    method = json.loads(artifact("drift", judged.drift).text("report.json"))["method"]
    assert "New column of searches, not compared: browser." in method
    assert "Missing column of searches, not compared: device." in method


def test_a_column_that_changed_its_type_is_called_by_its_values(home, tmp_path):
    days = []
    for name, value in (("a", "text"), ("b", "")):
        path = tmp_path / f"{name}.csv"
        rows = [["user_id", "brand", "click"], *([f"u{n % 50}", value or str(n % 7), n % 2] for n in range(300))]
        path.write_text("\n".join(",".join(map(str, row)) for row in rows))
        days.append(call("take_snapshot", log=str(path), day=f"2026-01-0{len(days) + 1}").snapshot)
    judged = call("judge_drift", current=days[1], reference=days[0], evidently=False)
    assert judged.outcome == "act"
    assert "brand of searches" in judged.sentence


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "neither --corpus nor --log"),
        ({"log": "LOG", "day": "tomorrow"}, "--day tomorrow; expected a day such as 2026-01-31"),
        ({"log": "LOG", "outcome": "clic"}, "column clic; expected one of user_id, query, device, click"),
        ({"log": "LOG", "outcome": "query"}, "outcome query with 0 numbers"),
        (
            {"log": "GRADED", "outcome": "click"},
            "outcome click with 60 numbers, 60 of which are neither 0 nor 1; expected 0 or 1 in each row",
        ),
        ({"log": "LOG", "column": ["colour"]}, "column colour; expected one of"),
        ({"log": "none.csv"}, "none.csv"),
        ({"log": "EMPTY"}, "without a row"),
        ({"log": "server"}, "exposures.jsonl, which is not there"),
        ({"corpus": "abcd"}, "corpus 'abcd'"),
        ({"log": "LOG", "release": "champion"}, "a champion, and there is none yet"),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is_written(home, tmp_path, given, words):
    names = {"LOG": write_log(tmp_path / "log.csv", rows=60), "EMPTY": write_log(tmp_path / "empty.csv", rows=0)}
    (tmp_path / "graded.csv").write_text("user_id,click\n" + "".join(f"u{n},{0.4}\n" for n in range(60)))
    names["GRADED"] = str(tmp_path / "graded.csv")
    with pytest.raises(InputError) as refused:
        call(
            "take_snapshot",
            **{key: names.get(value, value) if isinstance(value, str) else value for key, value in given.items()},
        )
    assert words in str(refused.value)
    assert "; next: " in str(refused.value)
    assert not list((home / "store").glob("snapshot/*/manifest.json"))


@pytest.mark.parametrize("name", ["exposures", "clicks"])
def test_a_log_of_the_server_that_can_not_be_read_is_refused(home, name):
    write_events(home, [([], False)])
    with (home / f"events/{name}.jsonl").open("a") as file:
        file.write(json.dumps({"request_id": "x" * 70_000_000}) + "\n")
    with pytest.raises(InputError, match=f"{name}.jsonl.*; expected lines of JSON of less than 32 MB each, .*; next: "):
        call("take_snapshot", log="server", day="2026-01-05", memory="1GB")
    assert not list((home / "store").glob("snapshot/*/manifest.json"))


def test_vectors_that_are_none_are_refused(home, monkeypatch):
    from pipelines.models.encoder import Encoder

    monkeypatch.setattr(
        Encoder, "encode", lambda self, texts, role, batch_tokens=0: np.full((len(texts), 64), np.nan, np.float32)
    )
    with pytest.raises(InputError, match="vectors that are not of length 1"):
        call("take_snapshot", corpus=corpus(), encoder=static_encoder(), day="2026-01-05")
    assert not list((home / "store").glob("snapshot/*/manifest.json"))


def test_one_row_and_no_reference_are_read_and_said(home, tmp_path):
    one = call("take_snapshot", log=write_log(tmp_path / "one.csv", rows=1), day="2026-01-05", series="daily").snapshot
    judged = call("judge_drift", current=one)
    assert (judged.outcome, judged.nothing_due) == ("not compared", True)
    assert "with 1 row of 50" in judged.sentence
    many = call("take_snapshot", log=write_log(tmp_path / "many.csv"), day="2026-01-06", series="daily").snapshot
    second = call("judge_drift", current=many)
    assert second.sentence == "not compared: no reference yet, and 0 of 14 past days"
    report = json.loads(artifact("drift", second.drift).text("report.json"))
    assert [row[0] for table in report["tables"][-1:] for row in table["rows"]] == ["2026-01-06", "2026-01-05"]
    assert report["pictures"] == [], "no report has an effect that could be drawn"


def test_evidentlys_page_lies_beside_the_report(home, tmp_path):
    pytest.importorskip("evidently")
    days = [
        call("take_snapshot", log=write_log(tmp_path / "log.csv", rate=rate), day="2026-01-01").snapshot for rate in (0.2, 0.5)
    ]
    judged = call("judge_drift", current=days[1], reference=days[0], report=str(tmp_path / "drift.html"))
    page = tmp_path / judged.drift / "evidently.html"
    assert page.stat().st_size < 8_000_000
    assert f'href="{judged.drift}/evidently.html"' in (tmp_path / "drift.html").read_text()


def rated(folder, differing, pairs=300):
    """A collection of which each pair was judged twice, some with another grade."""
    folder.mkdir()
    documents = [{"_id": f"d{number}", "text": f"{WORDS[number % 14]} number {number}"} for number in range(pairs)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    queries = [{"_id": f"q{number}", "text": word} for number, word in enumerate(WORDS[:14])]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    first = [(f"q{number % 14}", f"d{number}", number % 2) for number in range(pairs)]
    again = [(query, document, grade ^ (place < differing)) for place, (query, document, grade) in enumerate(first)]
    lines = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in first + again)
    (folder / "qrels").mkdir()
    (folder / "qrels/test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return call("ingest", source=str(folder), grades="0..1", grades_checked=False, max_bad_fraction=1).corpus


def test_raters_who_agree_less_are_a_drift_of_quality(home, tmp_path):
    then, now = (rated(tmp_path / str(differing), differing) for differing in (10, 150))
    assert then != now, "the same grades are kept, of pairs that were rated otherwise"
    before, today = (call("take_snapshot", corpus=name, day="2026-01-05") for name in (then, now))
    assert before.rows["ratings"] == today.rows["ratings"] == 300
    judged = call("judge_drift", current=today.snapshot, reference=before.snapshot, evidently=False)
    assert judged.sentence.startswith("act: quality: same grade of ratings: 50.0 % of rows, before 96.7 %")
    report = json.loads(artifact("drift", judged.drift).text("report.json"))
    assert (
        "Agreement of raters: 50.0 % of 300 further ratings have the pair's first grade; weighted kappa 0.00."
        in report["method"]
    )


def test_ratings_of_two_days_are_no_pairs_of_rows(home, tmp_path):
    """Which is which nobody knows: 40 and 64 other grades of 900 are 2.4 standard errors apart, though rows are sorted."""
    then, now = (rated(tmp_path / str(differing), differing, 900) for differing in (40, 64))
    before, today = (call("take_snapshot", corpus=name, day="2026-01-05") for name in (then, now))
    judged = call("judge_drift", current=today.snapshot, reference=before.snapshot, evidently=False)
    assert judged.outcome == "quiet", judged.sentence
    signals = artifact("drift", judged.drift).json("drift.json")["signals"]
    assert {one["name"]: one["usual"] for one in signals}["same grade of ratings"] == pytest.approx(860 / 900, abs=1e-5)


def test_one_rating_for_each_pair_is_no_agreement(home):
    notes = artifact("snapshot", call("take_snapshot", corpus=corpus()).snapshot).facts["notes"]
    assert "Agreement of raters: not measured, one rating for each pair." in notes


def test_examples_of_a_cluster_are_of_the_day_that_has_more_of_it():
    noise = np.random.default_rng(20)
    kinds = [np.array([0] * 99 + [1]), np.array([0] * 80 + [1] * 20)]
    before, now = (np.eye(2, 8)[kind] + 0.01 * noise.normal(size=(100, 8)) for kind in kinds)
    rows = [
        {"id": f"{side}{kind}", "text": ("lamp", "drone")[kind]}
        for side, several in enumerate(kinds)
        for kind in several.tolist()
    ]
    came = [cluster for cluster in changed_clusters(before, now, rows) if cluster.words == "drone"]
    assert {row["id"] for cluster in came for row in cluster.examples} == {"11"}
