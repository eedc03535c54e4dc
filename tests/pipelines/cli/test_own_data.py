"""One's own data, end to end: a file becomes a corpus, bad rows are kept aside, and nobody's judgments stay nobody's."""

import csv
import json
import subprocess

import pytest

from pipelines.corpus.documents import documents, qrels, queries
from pipelines.errors import InputError
from pipelines.store.artifacts import committed, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.train import train
from tests import warm
from tests.conftest import PROJECT, call, embedded_release

THINGS = ("lamp", "chair", "table", "sofa", "clock", "mirror", "carpet", "shelf", "vase", "curtain")
COLOURS = ("red", "green", "blue", "black", "white", "yellow")


def products(count=60):
    """Products as a shop would export them."""
    for number in range(count):
        thing, colour = THINGS[number % len(THINGS)], COLOURS[number // len(THINGS) % len(COLOURS)]
        about = f"A {colour} {thing} for the living room, made of wood and steel, number {number} of its line."
        yield {
            "sku": f"P{number:04}",
            "name": f"{colour.title()} {thing}",
            "description": about,
            "category": thing,
            "price": number,
        }


def write_csv(path, rows):
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        sheet = csv.DictWriter(file, rows[0].keys())
        sheet.writeheader()
        sheet.writerows(rows)
    return path


def corpus_of(answer):
    return load_exactly(open_store(), "corpus", answer.corpus)


def report_of(answer):
    return load_exactly(open_store(), "report", answer.report)


def test_a_csv_becomes_a_corpus_with_synthetic_queries(home, tmp_path):
    answer = call("ingest", source=str(write_csv(tmp_path / "shop.csv", products())))
    assert (answer.documents, answer.bad_rows, answer.found) == (60, 0, False)
    corpus = corpus_of(answer)
    first = next(documents(corpus))
    assert (first.id, first.title, first.segment) == ("P0000", "Red lamp", "lamp")
    assert "living room" in first.text
    asked = queries(corpus)
    assert len(asked) == answer.queries == answer.judgments > 0
    assert all(query.synthetic and query.split == "test" for query in asked)
    assert corpus.facts["synthetic"] == len(asked)


def test_equal_content_is_one_corpus_whatever_its_format_and_order(home, tmp_path):
    rows = list(products())
    lines = "".join(json.dumps(row) + "\n" for row in reversed(rows))
    (tmp_path / "shop.jsonl").write_text(lines)
    ids = {call("ingest", source=str(path)).corpus for path in (write_csv(tmp_path / "a.csv", rows), tmp_path / "shop.jsonl")}
    assert len(ids) == 1


def test_inspecting_does_nothing(home, tmp_path, capsys):
    call("ingest", inspect=str(write_csv(tmp_path / "shop.csv", products())))
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("sku", "name", "description", "category", "P0000"))
    assert not (home / "store").exists()


def test_bad_rows_go_to_the_quarantine_and_too_many_stop_the_ingest(home, tmp_path):
    rows = [*products(), {**next(products()), "sku": ""}, {**next(products()), "sku": "P0000"}]
    path = write_csv(tmp_path / "shop.csv", rows)
    with pytest.raises(
        InputError, match=r"2 of 62 rows of documents .*shop.csv line 62: missing id; shop.csv line 63: duplicate id"
    ):
        call("ingest", source=str(path))
    assert committed(open_store(), "corpus") == []
    (refused,) = committed(open_store(), "report")
    kept = load_exactly(open_store(), "report", refused).text("quarantine.csv").splitlines()
    assert len(kept) == 3
    answer = call("ingest", source=str(path), max_bad_fraction=0.05)
    assert (answer.documents, answer.bad_rows) == (60, 2)
    assert "quarantine" in report_of(answer).json("report.json")["sentence"]


def judged_csv(path, grade_of):
    rows = [
        {"query": f"{colour} {thing}", "product": row["sku"], "grade": grade_of(f"{colour} {thing}", row)}
        for thing in THINGS
        for colour in COLOURS[:3]
        for row in list(products())[:: 7]
    ]  # fmt: skip
    return write_csv(path, rows)


def by_words(query, row):
    return sum(word in row["name"].lower() for word in query.split())


def test_judgments_beside_the_documents(home, tmp_path):
    shop = write_csv(tmp_path / "shop.csv", products())
    answer = call("ingest", source=str(shop), qrels=str(judged_csv(tmp_path / "judged.csv", by_words)))
    corpus = corpus_of(answer)
    assert answer.queries == 30
    assert {grade for grades in qrels(corpus).values() for grade in grades.values()} == {0, 1, 2}
    assert not any(query.synthetic for query in queries(corpus))
    assert "2 is the best" in corpus.facts["grades"]


def test_a_column_that_both_files_have_is_the_named_files(home, tmp_path):
    shop = write_csv(tmp_path / "shop.csv", products())
    rows = [{"query": f"{thing} of wood", "sku": row["sku"], "grade": 1} for thing in THINGS for row in list(products())[:2]]
    judged = write_csv(tmp_path / "judged.csv", rows)
    answer = call("ingest", source=str(shop), qrels=str(judged), column=["qrels.document=sku"], held_out=True)
    assert (answer.documents, answer.judgments) == (60, 20)
    assert {query.split for query in queries(corpus_of(answer))} == {"test"}


def test_grades_that_point_the_wrong_way_stop_the_ingest(home, tmp_path):
    shop = write_csv(tmp_path / "shop.csv", products())
    turned = judged_csv(tmp_path / "judged.csv", lambda query, row: 2 - by_words(query, row))
    with pytest.raises(InputError, match=r"BM25 ranks the worse ones better .* --grades 2\.\.0"):
        call("ingest", source=str(shop), qrels=str(turned))
    answer = call("ingest", source=str(shop), qrels=str(turned), grades="2..0")
    right = call("ingest", source=str(shop), qrels=str(judged_csv(tmp_path / "right.csv", by_words)))
    assert answer.corpus == right.corpus


def test_without_judgments_a_release_is_served_by_a_waiver_alone(trained, tmp_path):
    shop = write_csv(tmp_path / "shop.csv", products())
    answer = train(source=str(shop))
    assert (answer["outcome"], answer["served"]) == ("not run", False)
    assert answer["sentence"].startswith("not run: no judgments; nDCG@10 ")
    assert "synthetic" in answer["sentence"]
    with pytest.raises(InputError, match=r"no judgments.*--waive true with --who and --why"):
        call("promote", verdict=answer["verdict"])
    with pytest.raises(InputError, match="without a name or a reason"):
        call("promote", verdict=answer["verdict"], waive=True, who="ann")
    with pytest.raises(InputError, match="without a name or a reason"):
        call("promote", verdict=answer["verdict"], waive=True, why="to look at it")
    assert Journal(open_store()).entries == []
    verdict = load_exactly(open_store(), "verdict", answer["verdict"])
    evaluation = load_exactly(open_store(), "evaluation", verdict.inputs["evaluation"])
    shown = evaluation.json("report.json")
    assert (shown["verdict"], evaluation.facts["synthetic"]) == ("smoke test", evaluation.facts["queries"])
    assert "synthetic known-item queries" in shown["sentence"]
    assert train(waive="to look at it", source=str(shop))["served"]
    entry = Journal(open_store()).entries[0]
    assert (entry.action, entry.to) == ("promote", answer["release"])
    assert entry.why.startswith("waived, not run: no judgments")
    assert entry.why.endswith("to look at it")


def test_a_verdict_that_is_no_not_cannot_be_waived(served):
    verdict = Journal(served.store).entries[0].verdict
    with pytest.raises(InputError, match="want of judgments"):
        call("promote", verdict=verdict, waive=True, who="ann", why="because")


def test_documents_alone_and_no_queries_at_all(trained, tmp_path):
    answer = train(source=str(write_csv(tmp_path / "shop.csv", products())), known_items=0)
    assert answer["sentence"] == "not run: no judgments"


def test_a_champion_of_another_collection_is_seen_by_its_judged_results(served, tmp_path, monkeypatch):
    suite = tmp_path / "suite.yaml"  # the shipped one compares the number of documents with the champion's
    suite.write_text("name: empty\nchecks: {}\n")
    monkeypatch.setenv("RATCHET_SUITE", str(suite))
    shop = write_csv(tmp_path / "shop.csv", products())
    corpus = call("ingest", source=str(shop), qrels=str(judged_csv(tmp_path / "judged.csv", by_words))).corpus
    evaluated = call("evaluate", release=embedded_release(served.home, corpus, served.encoder).release)
    verdict = call("gate", evaluation=evaluated.evaluation, baseline=evaluated.baseline, margin=0.99).verdict
    warnings = load_exactly(open_store(), "verdict", verdict).json("verdict.json")["warnings"]
    assert any("Judged@10 is 0.000 for the champion" in warning for warning in warnings)


def test_a_collection_far_smaller_than_the_champions_is_stopped_by_its_checks(served, tmp_path):
    """As in the DAG: what is not the champion's corpus any more needs a store of its own, or another suite."""
    shop = write_csv(tmp_path / "shop.csv", products())
    with pytest.raises(InputError, match="documents_ratio"):
        train(source=str(shop))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--source", "missing.csv"], ["missing.csv"]),
        (["--source", "shop.csv", "--column", "id=nonsense"], ["nonsense", "sku"]),
        (["--source", "shop.csv", "--column", "bogus=sku"], ["bogus"]),
        (["--source", "shop.csv", "--grades", "3"], ["--grades"]),
        (["--source", "shop.csv", "--max-bad-fraction", "2"], ["--max-bad-fraction"]),
        (["--source", "ftp://s3.example.org/shop.csv"], ["s3://bucket/prefix"]),
        (["--source", "s3://"], ["s3://"]),
    ],
)
def test_a_users_mistake_is_a_sentence(home, tmp_path, options, words):
    write_csv(tmp_path / "shop.csv", products())
    command = warm.command("-m", "pipelines", "ingest", *options)
    environment = {"PYTHONPATH": str(PROJECT), "RATCHET_HOME": str(home), "PATH": "/usr/bin:/bin"}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: given ")
    assert "Traceback" not in answer.stderr
    assert all(word in answer.stderr for word in words), answer.stderr


def test_personal_data_is_masked_on_request_also_in_the_quarantine(home, tmp_path):
    rows = list(products())
    rows[3]["description"] += " Write to ann.smith@example.org."
    rows.append({**rows[0], "sku": "", "description": "ask bob@example.org"})
    path = write_csv(tmp_path / "shop.csv", rows)
    answer = call("ingest", source=str(path), mask=True, max_bad_fraction=0.5)
    corpus = corpus_of(answer)
    texts = {one.id: one.text for one in documents(corpus)}
    assert texts["P0003"].endswith("Write to <EMAIL_ADDRESS>.")
    assert corpus.facts["masked"] == {"EMAIL_ADDRESS": 2}
    kept = report_of(answer)
    assert "bob@example.org" not in kept.text("quarantine.csv") + kept.text("report.html")


def test_a_file_of_nothing_but_bad_rows_is_not_read_to_its_end(home, tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text("sku,name\n" + "".join(f"P{number},Lamp {number}\n" for number in range(300)) + ",no id\n" * 60_000)
    with pytest.raises(InputError, match="of 10,000 rows of documents"):
        call("ingest", source=str(path))
