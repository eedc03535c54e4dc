"""What the server refuses as a query is not judged: it goes to the quarantine with its reason."""

import csv
import json

import pytest

from pipelines.corpus.documents import qrels, queries
from pipelines.corpus.text_rules import LONGEST_QUERY, one_line
from pipelines.errors import InputError
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import call

LONG = "which chair " * 60
WIDE = "red" + " " * LONGEST_QUERY + "chair"  # runs of white space count as one character
REASON = "query of more than 512 characters, which the server refuses"


@pytest.fixture
def collection(tmp_path):
    """A BEIR folder with some queries of which the first is long and the second has a wide gap."""
    documents = [{"_id": f"d{number}", "title": f"chair {number}", "text": f"a red chair {number}"} for number in range(200)]
    asked = [{"_id": f"q{number}", "text": f"chair {number}"} for number in range(200)]
    asked[0]["text"], asked[1]["text"] = LONG, WIDE
    for name, rows in (("corpus", documents), ("queries", asked)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{number}\td{number}\t1\n" for number in range(200))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return tmp_path


def quarantined(report):
    return list(csv.DictReader(load(open_store(), "report", report).text("quarantine.csv").splitlines()))


def test_a_query_that_the_server_refuses_is_a_bad_row_and_not_judged(home, collection):
    answer = call("ingest", source=str(collection))
    corpus = load(open_store(), "corpus", answer.corpus)
    assert (answer.queries, answer.judgments, answer.bad_rows) == (199, 199, 2)
    assert [(row["role"], row["line"], row["reason"]) for row in quarantined(answer.report)] == [
        ("queries", "1", REASON),
        ("qrels", "2", "names an unknown query"),
    ]
    assert {query.id for query in queries(corpus)} == qrels(corpus).keys() == {f"q{number}" for number in range(1, 200)}
    assert all(one_line(query.text) for query in queries(corpus))


def test_judgments_that_name_queries_by_their_texts_and_too_many_that_are_long(home, collection, tmp_path):
    path = tmp_path / "judged.csv"
    rows = [{"query": f"chair {n}", "id": f"d{n}", "grade": n % 2} for n in range(150)]
    rows[0]["query"] = LONG
    with path.open("w", newline="") as file:
        sheet = csv.DictWriter(file, rows[0].keys())
        sheet.writeheader()
        sheet.writerows(rows)
    source = str(collection / "corpus.jsonl")
    answer = call("ingest", source=source, qrels=str(path), grades_checked=False)
    assert {row["reason"] for row in quarantined(answer.report)} == {REASON}
    with pytest.raises(InputError, match=f"{REASON}.*next: correct them, or pass --max-bad-fraction"):
        call("ingest", source=source, qrels=str(path), grades_checked=False, max_bad_fraction=0)


def test_a_synthetic_query_is_never_too_long(home, tmp_path):
    path = tmp_path / "documents.jsonl"
    texts = [f"a chair of kind {number}" for number in range(20)] + ["椅" * 700]
    path.write_text("".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    corpus = load(open_store(), "corpus", call("ingest", source=str(path)).corpus)
    assert len(queries(corpus)) == 20
    assert all(one_line(query.text) for query in queries(corpus))
