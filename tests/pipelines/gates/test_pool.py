"""pool on a small shop with hostile texts: what is pooled, in which order, what is never written over, and reading it back."""

import csv
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.collections.csv_safe import POOL, escaped, is_pool, unescaped, write_safe_csv
from pipelines.corpus.documents import Document, Query, queries, query_id
from pipelines.corpus.exposure import Exposure, ShownDocument
from pipelines.errors import InputError, NothingToDo
from pipelines.retrieval.lexical import bm25_run
from pipelines.retrieval.release import load_release
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests import warm
from tests.conftest import PROJECT, call, embedded_release
from tests.corpora import write_corpus

COLOURS = ("red", "blue", "green", "white")
THINGS = ("lamp", "chair of oak", "table", "sofa bed", "shelf")
HOSTILE = [
    Document(id="=1+1", text="=HYPERLINK(\"x\") lamp\nwith, a \"comma\"", title="@SUM(A1)"),
    Document(id="-7", text="'=lamp of steel", title="'quoted"),
    Document(id="007", text="lamp;=1+1 größer", title="+49 lamp"),
    Document(id="12345678901234567890", text="1-2", title="\tlamp"),
]  # fmt: skip
DOCUMENTS = HOSTILE + [
    Document(id=f"d{number:02}", text=f"a {colour} {thing}", title=f"{colour} {thing}")
    for number, (colour, thing) in enumerate((colour, thing) for colour in COLOURS for thing in THINGS)
]
QUERIES = [
    Query(id="r1", text="red lamp", split="test"),
    Query(id="q2", text="=cmd() chair", split="train"),
    Query(id="003", text="somewhere to sleep", split="test"),
    Query(id="s1", text="a blue table", split="test", synthetic=True),
    Query(id="u1", text="u", split="test", history=("d01",)),
]  # fmt: skip
QRELS = ["r1 0 d00 3", "r1 0 d05 0", "s1 0 d07 1"]


@dataclass(frozen=True)
class Shop:
    corpus: str
    champion: str
    second: str
    other: str
    """A release of another corpus."""


def shifted_index(embeddings):
    """An index whose documents have each other's vectors: another ranking of the same corpus."""
    from pipelines.embeddings.layout import rows, vectors
    from pipelines.index.vector_index import build_flat, write_index

    embedded = load(open_store(), "embeddings", embeddings)
    ids = [row.id for row in rows(embedded)]

    def build(folder):
        write_index(folder, build_flat(vectors(embedded)), ids[7:] + ids[:7])
        return {"documents": len(ids), "dimensions": embedded.facts["dimensions"]}

    return produce(
        open_store(), Recipe(kind="index", step="index", version=1, inputs={"embeddings": embeddings}, params={"x": 1}), build
    ).id


@pytest.fixture(scope="module")
def _shop_once(_trained_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "home"
    shutil.copytree(_trained_once.home, folder, copy_function=os.link)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_HOME", str(folder))
        corpus = write_corpus(sorted(DOCUMENTS, key=lambda one: one.id), QUERIES, QRELS)
        made = embedded_release(folder, corpus, _trained_once.encoder)
        second = call("assemble", index=shifted_index(made.embeddings)).release
        Journal(open_store()).append("deploy", made.release, "first", Routing(champion=made.release))
    return folder, Shop(corpus, made.release, second, _trained_once.release)


@pytest.fixture
def shop(_shop_once, home):
    shutil.copytree(_shop_once[0], home, copy_function=os.link)
    return _shop_once[1]


def read(path):
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return [{name: unescaped(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def test_the_union_of_release_and_bm25(shop, tmp_path):
    result = call("pool", file=str(tmp_path / "pool.csv"), depth=4)
    rows = read(tmp_path / "pool.csv")
    assert result.pairs == len(rows)
    assert (result.release, result.second, result.corpus, result.queries) == (shop.champion, "", shop.corpus, 3)
    assert {row["query_id"] for row in rows} == {"r1", "q2", "003"}, "synthetic queries and histories are nobody's words"
    texts = {query.id: query.text for query in QUERIES[:3]}
    ranked = load_release(open_store(), shop.champion).search(list(texts.values()), 4)
    expected = {(query, one) for query, ranking in zip(texts, ranked, strict=True) for one, _ in ranking}
    bm25 = bm25_run({one.id: one.text for one in DOCUMENTS}, texts, 4)
    expected |= {(query, one) for query, ranking in bm25.items() for one, _ in ranking}
    judged = {("r1", "d00"), ("r1", "d05")}
    assert {(row["query_id"], row["document_id"]) for row in rows} == expected - judged
    assert result.judged_before == len(expected & judged) > 0
    again = call("pool", file=str(tmp_path / "all.csv"), depth=4, judged=True)
    assert (again.pairs, again.judged_before) == (len(expected), 0)


def test_cells_come_back_exactly(shop, tmp_path):
    call("pool", file=str(tmp_path / "pool.csv"), depth=24)
    by_id = {one.id: one for one in DOCUMENTS}
    rows = read(tmp_path / "pool.csv")
    assert {one.id for one in HOSTILE} <= {row["document_id"] for row in rows}
    for row in rows:
        assert set(row) == set(POOL)
        assert (row["title"], row["text"]) == (by_id[row["document_id"]].title, by_id[row["document_id"]].text)
        assert row["query"] == next(query.text for query in QUERIES if query.id == row["query_id"])
        assert row["grade"] == ""
    with (tmp_path / "pool.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert not [cell for cell in cells if ";=" in cell]
    assert (tmp_path / "pool.csv").read_bytes().startswith(b"\xef\xbb\xbfquery_id,query,"), "Excel would misread the umlaut"


@pytest.mark.parametrize("separator", [",", ";"])
def test_judged_in_a_spreadsheet_and_read_back(shop, tmp_path, separator):
    """Grades filled in, a column moved, another added, and one row left open: exactly what was judged becomes qrels."""
    call("pool", file=str(tmp_path / "pool.csv"), depth=24)
    with (tmp_path / "pool.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row |= {"grade": str(number % 3) if number else "", "remark": "sure; quite"}
    with (tmp_path / "judged.csv").open("w", encoding="utf-8-sig", newline="") as file:
        sheet = csv.DictWriter(file, ["grade", "remark", *POOL[:-1]], delimiter=separator)
        sheet.writeheader()
        sheet.writerows(rows)
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in DOCUMENTS))
    made = call("ingest", source=str(tmp_path / "own.jsonl"), qrels=str(tmp_path / "judged.csv"), grades_checked=False)
    corpus = load(open_store(), "corpus", made.corpus)
    judged = [f"{unescaped(row['query_id'])} 0 {unescaped(row['document_id'])} {row['grade']}" for row in rows[1:]]
    assert sorted(corpus.text("qrels.txt").splitlines()) == sorted(judged)
    assert {one.id: one.text for one in queries(corpus)} == {one.id: one.text for one in QUERIES[:3]}
    assert made.bad_rows == 0


def test_the_order_does_not_tell_who_found_it(shop, tmp_path):
    call("pool", file=str(tmp_path / "one.csv"), depth=3)
    call("pool", file=str(tmp_path / "two.csv"), depth=3, release=shop.second, second=shop.champion)
    call("pool", file=str(tmp_path / "three.csv"), depth=3, second=shop.second)
    one, two, three = (read(tmp_path / f"{name}.csv") for name in ("one", "two", "three"))
    assert two == three, "whichever release is named first"
    assert len(three) > len(one)
    assert [row for row in three if row in one] == one, "more rankings only add rows"
    order = [row["document_id"] for row in one if row["query_id"] == "003"]
    ranked = [document for document, _ in load_release(open_store(), shop.champion).search(["somewhere to sleep"], 3)[0]]
    assert order != ranked
    assert order != sorted(order)


def test_queries_with_the_fewest_judgments_come_first(shop, tmp_path):
    assert call("pool", file=str(tmp_path / "pool.csv"), most_queries=2).queries == 2
    assert {row["query_id"] for row in read(tmp_path / "pool.csv")} == {"q2", "003"}


def asked(*queries):
    """An exposure log of these searches, and of many that a program made; its last line is cut off."""
    folder = Path(os.environ["RATCHET_HOME"]) / "events"
    folder.mkdir()
    rows = [
        Exposure(
            request_id=str(number), at=datetime.now(UTC), user="", query=query, release="r", policy="champion", entry=1,
            results=(ShownDocument(document="d01", position=1, score=1, propensity=1),), traffic=traffic,
        )
        for number, (query, traffic) in enumerate([*((query, "live") for query in queries), *[("shelf", "replayed")] * 9])
    ]  # fmt: skip
    (folder / "exposures.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows) + '{"request_id": "cut')


def test_what_people_asked_most(shop, tmp_path):
    asked("sofa", "red lamp", "sofa", "red  lamp ", "sofa", "table")
    call("pool", file=str(tmp_path / "pool.csv"), queries="exposures", most_queries=2)
    assert list(dict.fromkeys(row["query_id"] for row in read(tmp_path / "pool.csv"))) == [query_id("sofa"), "r1"]


def test_a_file_of_queries(shop, tmp_path):
    (tmp_path / "queries.txt").write_text("\ufeffsofa\r\n\n  white   shelf \nsofa\nred lamp\nnever reached\n")
    call("pool", file=str(tmp_path / "pool.csv"), queries=str(tmp_path / "queries.txt"), most_queries=3)
    rows = read(tmp_path / "pool.csv")
    assert list(dict.fromkeys(row["query"] for row in rows)) == ["sofa", "white shelf", "red lamp"]
    assert {row["query_id"] for row in rows if row["query"] == "red lamp"} == {"r1"}


def test_judgments_are_never_written_over(shop, tmp_path):
    path = tmp_path / "pool.csv"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"pool.csv, which is there already.*may hold judgments"):
        call("pool", file=str(path))
    with pytest.raises(InputError, match="which is there already"):  # it appeared while the pool was made
        write_safe_csv(path, POOL, [])
    assert path.read_text() == "precious"
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="which is there already"):
        call("pool", file=str(tmp_path / "link.csv"))


def test_nothing_left_to_judge(shop, tmp_path):
    (tmp_path / "queries.txt").write_text("red lamp\n")
    with pytest.raises(NothingToDo, match=r"all 1 pairs of 1 queries are judged"):
        call("pool", file=str(tmp_path / "pool.csv"), queries=str(tmp_path / "queries.txt"), depth=1)
    assert not (tmp_path / "pool.csv").exists()


def test_a_release_of_another_corpus(shop, tmp_path):
    with pytest.raises(InputError, match=rf"release {shop.other} of corpus .*; expected a release of corpus {shop.corpus}"):
        call("pool", file=str(tmp_path / "pool.csv"), second=shop.other)


def test_a_corpus_without_queries(shop, home, tmp_path):
    store = open_store()
    corpus = write_corpus(DOCUMENTS[:6], [QUERIES[3]], ["s1 0 -7 1"])
    encoder = load(store, "release", shop.champion).inputs["encoder"]
    release = embedded_release(home, corpus, encoder).release
    with pytest.raises(InputError, match=r"--queries corpus, which has no query by a person.*pass --queries exposures"):
        call("pool", file=str(tmp_path / "pool.csv"), release=release)
    (tmp_path / "queries.txt").write_text("a blue table\n")
    assert call("pool", file=str(tmp_path / "pool.csv"), release=release, queries=str(tmp_path / "queries.txt")).pairs > 0
    assert read(tmp_path / "pool.csv")[0]["query_id"] == query_id("a blue table"), "not the synthetic query's id"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["p.csv"], "given champion; expected a champion, and there is none yet; next: run `python -m pipelines history`"),
        (["p.csv", "--release", "feedfeed"], "release 'feedfeed', which is not in"),
        (["p.csv", "--release", "challenger"], "given challenger; expected a challenger, and there is none yet"),
        ([], "--file: nothing"),
        (["nowhere/p.csv"], "--file nowhere/p.csv; expected a file in a folder that exists"),
        (["s3://bucket/p.csv"], "--file s3://bucket/p.csv"),
        (["p.csv", "--depth", "0"], "--depth: '0'"),
        (["p.csv", "--most-queries", "many"], "--most-queries: 'many'"),
    ],
)
def test_bad_input(home, tmp_path, arguments, words):
    command = warm.command("-m", "pipelines", "pool", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"No such file"),
        (b"caf\xe9\n", "not UTF-8"),
        (b"x" * 5000, "queries of at most 512 characters"),
        (b"\n \n", "which has no query by a person"),
    ],
)
def test_bad_files_of_queries(shop, tmp_path, content, words):
    if content is not None:
        (tmp_path / "queries.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        call("pool", file=str(tmp_path / "pool.csv"), queries=str(tmp_path / "queries.txt"))
    with pytest.raises(InputError, match=r"exposures.jsonl, which is not there; expected exposures.jsonl in that folder"):
        call("pool", file=str(tmp_path / "pool.csv"), queries="exposures")


CELLS = st.text(st.sampled_from("=+-@'\"\t\r\n;,a1０ ＝0.e/") | st.characters(exclude_categories=["Cs"]), max_size=12)


@given(CELLS)
def test_every_cell_survives_the_mark(cell):
    assert unescaped(escaped(cell)) == cell
    assert not escaped(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))


@given(st.lists(st.tuples(*[CELLS] * 6), max_size=4))
def test_every_sheet_survives_the_file(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.csv"
        write_safe_csv(path, POOL, rows)
        assert read(path) == [dict(zip(POOL, row, strict=True)) for row in rows]


def test_only_a_pool_is_read_as_one():
    assert is_pool(POOL)
    assert not is_pool(["query", "document", "grade"])


def test_at_the_command_line(shop, tmp_path):
    command = warm.command("-m", "pipelines", "pool", str(tmp_path / "pool.csv"), "--depth", "2")
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["pairs"] == len(read(tmp_path / "pool.csv"))
    assert "fill in the column grade" in answer.stderr
