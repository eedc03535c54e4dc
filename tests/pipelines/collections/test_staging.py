"""Staging: what becomes a row, what goes to the quarantine, and what rows say of each other."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines.collections.direction import grade_direction
from pipelines.collections.judgments import assign_splits, grade_judgments
from pipelines.collections.known_item import known_items
from pipelines.collections.record import BadRow, FilePart, Record, SourceFile
from pipelines.collections.references import check_references
from pipelines.collections.rows import seconds_of
from pipelines.collections.staging import Staging, open_staging
from pipelines.errors import InputError

FILE = SourceFile(Path("given.csv"), "given.csv", "csv")
DOCUMENTS = FilePart("documents", FILE, {"id": ("id",), "text": ("name", "about"), "title": ("name",)})
QUERIES = FilePart("queries", FILE, {"id": ("id",), "text": ("text",)})
QRELS = FilePart("qrels", FILE, {"query": ("q",), "document": ("d",), "grade": ("g",)})


@pytest.fixture
def staging(tmp_path) -> Staging:
    return open_staging(tmp_path, longest=50)


def load(staging, part, *rows):
    staging.load(part, [Record("given.csv", number, row) for number, row in enumerate(rows, 2)])


def reasons(staging):
    return {reason: count for (_, reason), count in staging.quarantine.counts.items()}


def documents(staging, *ids):
    load(staging, DOCUMENTS, *({"id": one, "name": f"thing {one}"} for one in ids))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "", "name": "a"}, "missing id"),
        ({"name": "a"}, "missing id"),
        ({"id": None, "name": "a"}, "missing id"),
        ({"id": "there", "name": "another"}, "duplicate id"),
        ({"id": "there", "name": "here"}, "duplicate id"),
        ({"id": "x", "name": "  ", "about": None}, "empty text"),
        ({"id": "x", "name": "n" * 51}, "text too long"),
        ({"id": "x" * 513, "name": "a"}, "id too long"),
        ({"id": "x y", "name": "a"}, "id with white space or control characters"),
        ({"id": "x\u2028y", "name": "a"}, "id with white space or control characters"),
        ({"id": "x\x00y", "name": "a"}, "id with white space or control characters"),
        ({"id": 1.0, "name": "a"}, "id is a float"),
        ({"id": True, "name": "a"}, "id of a wrong type"),
        ({"id": ["x"], "name": "a"}, "id of a wrong type"),
        ({"id": "x", "name": {"de": "a"}}, "text of a wrong type"),
        ({"id": "x", "name": "half \ud800 of a pair"}, "invalid Unicode or number"),
    ],
)
def test_a_bad_document_is_put_aside_with_its_reason(staging, row, reason):
    load(staging, DOCUMENTS, {"id": "there", "name": "here"}, row)
    assert reasons(staging) == {reason: 1}
    assert staging.quarantine.first["documents"][0].line == 3
    assert staging.count("documents") == 1


def test_values_become_texts(staging):
    load(staging, DOCUMENTS, {"id": 7, "name": " Shoe ", "about": ["red", None, 42, float("nan")]}, {"id": " b ", "name": 5})
    rows = staging.db.execute("SELECT id, text, title FROM documents ORDER BY id").fetchall()
    assert rows == [("7", "Shoe red 42", "Shoe"), ("b", "5", "5")]


def test_hostile_text_is_kept_as_it_is(staging):
    hostile = "<script>alert(1)</script>'; DROP TABLE documents; --"
    load(staging, FilePart("documents", FILE, {"id": ("id",), "text": ("t",)}), {"id": "');--", "t": "=cmd|'/c calc'!A1"})
    load(staging, QUERIES, {"id": "q", "text": hostile[:50]})
    assert staging.db.execute("SELECT id, text FROM documents").fetchall() == [("');--", "=cmd|'/c calc'!A1")]
    assert staging.db.execute("SELECT text FROM queries").fetchall() == [(hostile[:50].strip(),)]


def test_documents_without_ids_get_them_from_their_text(staging):
    part = FilePart("documents", FILE, {"text": ("t",)})
    load(staging, part, {"t": "red shoe"}, {"t": "red shoe"}, {"t": "blue"})
    assert staging.db.execute("SELECT id FROM documents ORDER BY id").fetchall() == [("d-16477688c0e0",), ("d-6e4f1f24b6a7",)]
    assert not staging.quarantine.total, "an equal text is the same document"


def test_rows_that_repeat_must_say_the_same(staging):
    part = FilePart("documents", FILE, {"id": ("id",), "text": ("t",)}, repeats=True)
    load(staging, part, {"id": "a", "t": "red"}, {"id": "a", "t": "red"}, {"id": "a", "t": "blue"})
    assert reasons(staging) == {"id used again with another text": 1}


def test_the_quarantine_is_a_sheet_in_which_nothing_runs(staging, tmp_path):
    staging.load(DOCUMENTS, [BadRow("=evil.csv", 3, "invalid UTF-8", "=cmd|'/c calc'!A1")])
    load(staging, DOCUMENTS, {"id": "", "name": "half \ud800"})
    staging.quarantine.close()
    with (tmp_path / "quarantine.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["role", "file", "line", "reason", "given"]
    assert rows[1][2:4] == ["3", "invalid UTF-8"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def judged(staging, *rows):
    load(staging, QRELS, *({"q": query, "d": document, "g": grade} for query, document, grade in rows))


def test_judgments_of_unknown_things_are_put_aside(staging):
    documents(staging, "d1", "d2", "d3")
    load(staging, QUERIES, {"id": "q1", "text": "one"}, {"id": "q2", "text": "two"})
    judged(staging, ("q1", "d1", "1"), ("q1", "d2", "1"), ("q2", "d3", "0"), ("q2", "d9", "1"), ("q9", "d1", "1"))
    check_references(staging)
    assert reasons(staging) == {"names an unknown document": 1, "names an unknown query": 1}
    assert staging.count("judged") == 3


@pytest.mark.parametrize(
    ("there", "named", "how"),
    [
        (["301", "302"], ["301.0", "302.0"], "written as floats"),
        (["A1", "B2"], ["a1", "b2"], "in another case"),
        (["0301", "0302"], ["301", "302"], "padded with zeros"),
        (["q301", "q302"], ["301", "302"], "with another prefix"),
        (["10", "20"], ["11", "21"], "counted from another start"),
        (["a", "b"], ["x", "y"], "0 are there"),
    ],
)
def test_numberings_that_differ_stop_the_ingest(staging, there, named, how):
    documents(staging, "d1")
    load(staging, QUERIES, *({"id": one, "text": f"query {one}"} for one in there))
    judged(staging, *((one, "d1", "1") for one in named))
    with pytest.raises(InputError, match=how):
        check_references(staging)


def graded(staging, declared=""):
    scale = grade_judgments(staging, declared)
    rows = staging.db.execute("SELECT query, document, grade FROM qrels ORDER BY query, document").fetchall()
    return scale, rows


def test_grades_are_put_on_their_scale(staging):
    judged(staging, ("q", "a", "Exact"), ("q", "b", "Irrelevant"), ("q", "c", "Partial"), ("q", "d", ""), ("q", "e", "?"))
    scale, rows = graded(staging, "Irrelevant,Partial,Exact")
    assert rows == [("q", "a", 2), ("q", "b", 0), ("q", "c", 1)]
    assert scale.shown == "Irrelevant < Partial < Exact"
    assert (staging.unjudged, reasons(staging)) == (1, {"grade outside the scale Irrelevant < Partial < Exact": 1})


def test_a_second_judgment_must_agree(staging):
    judged(staging, ("q", "a", "1"), ("q", "a", "1.0"), ("q", "a", "0"))
    _, rows = graded(staging)
    assert rows == [("q", "a", 1)]
    assert reasons(staging) == {"a second judgment with another grade": 1}
    assert staging.rated_again == {(1, 1): 1, (0, 1): 1}


def test_a_split_is_what_the_files_say_else_by_the_text(staging):
    load(staging, QUERIES, *({"id": one, "text": one} for one in ("house", "beach", "given")))
    test = FilePart("qrels", FILE, QRELS.columns, split="test")
    staging.load(test, [Record("test.tsv", 1, {"q": "given", "d": "d", "g": "1"})])
    staging.db.execute("UPDATE judged SET split = 'test' WHERE query = 'given'")
    assign_splits(staging, held_out=False)
    assert dict(staging.db.execute("SELECT id, split FROM queries")) == {"house": "train", "beach": "test", "given": "test"}


def graded_by_words(staging, turned):
    """Queries whose better documents share more words with them, or fewer."""
    for number in range(40):
        words = f"w{number} v{number}"
        load(staging, QUERIES, {"id": f"q{number}", "text": words})
        for grade, text in enumerate(("other", f"w{number} other", words)):
            load(staging, DOCUMENTS, {"id": f"d{number}-{grade}", "name": text})
            staging.db.execute(
                "INSERT INTO qrels VALUES (?, ?, ?)", (f"q{number}", f"d{number}-{grade}", 2 - grade if turned else grade)
            )


@pytest.mark.parametrize("turned", [True, False])
def test_grades_that_point_the_wrong_way_are_seen(staging, turned):
    graded_by_words(staging, turned)
    found = grade_direction(staging.db)
    assert (found.queries, found.reversed) == (40, turned)
    assert found.tau is not None
    assert (found.tau < 0) is turned


def test_one_grade_has_no_direction(staging):
    documents(staging, "d1", "d2")
    load(staging, QUERIES, {"id": "q", "text": "thing"})
    staging.db.executemany("INSERT INTO qrels VALUES ('q', ?, 1)", [("d1",), ("d2",)])
    assert grade_direction(staging.db).tau is None


def test_known_items_ask_for_one_document_each(staging):
    load(staging, DOCUMENTS, {"id": "a", "name": "Same"}, {"id": "b", "name": "same"}, {"id": "c", "name": "Other"})
    part = FilePart("documents", FILE, {"id": ("id",), "text": ("t",), "known": ("k",)})
    load(staging, part, {"id": "d", "t": "many words", "k": "held out"}, {"id": "e", "t": " ".join(map(str, range(20)))})
    found = dict(known_items(staging.db, 10))
    assert found == {"Other": "c", "held out": "d", " ".join(map(str, range(12))): "e"}
    assert list(known_items(staging.db, 2)) == list(known_items(staging.db, 10))[:2]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (0, 0), ("1e9", 10**9), (1577836800123, 1577836800), (1577836800123456789, 1577836800), ("2020-01-01", 1577836800),
        ("2020-01-01T00:00:00Z", 1577836800), ("2020-01-01 00:00:00 UTC", 1577836800),
        (date(2020, 1, 1), 1577836800), (datetime(2020, 1, 1, tzinfo=UTC), 1577836800),
    ],
)  # fmt: skip
def test_times_are_seconds(given, seconds):
    assert seconds_of(given) == seconds
