"""Layouts: collections in many layouts, read by the real readers, and what they are taken for."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.collections.reading import readers
from pipelines.collections.reading.sources import open_source
from pipelines.collections.record import Record, Sampled, SourceFile
from pipelines.collections.schema.inspection import describe_layout
from pipelines.collections.schema.layout import infer_layout
from pipelines.collections.schema.overrides import Overrides
from pipelines.errors import InputError
from tests.corpora import CHORUS
from tests.pipelines.collections.layout_cases import CASES, PRODUCTS, PRODUCTS_CSV, REFUSED, judged
from tests.pipelines.collections.layouts import laid_out, lines, rows, sampled, told, words


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_collection_is_recognized(case, tmp_path):
    layout = laid_out(sampled(case.files, tmp_path), case.columns, case.grades, case.roles)
    assert told(layout) == case.parts
    assert not case.name or layout.name == case.name
    assert [note for note in case.notes if not any(note in said for said in layout.notes)] == []


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_impossible_is_said_with_what_to_do(case, tmp_path):
    with pytest.raises(InputError) as caught:
        laid_out(sampled(case.files, tmp_path), case.columns, case.grades, case.roles)
    said = str(caught.value)
    assert said.startswith("given ")
    assert [note for note in case.notes if note not in said] == []


def test_another_scale_is_declared_and_checked(tmp_path):
    layout = laid_out(
        sampled({"products.csv": PRODUCTS_CSV, "rated.csv": rows("query docid rating", judged())}, tmp_path), grades="1..0"
    )
    assert layout.grades == "1..0"
    assert "Grades such as 2 are not on the declared scale." in layout.notes


def test_floats_are_said_to_be_no_ids(tmp_path):
    layout = laid_out(sampled({"p.jsonl": lines({"id": n + 0.0, "text": words(20)} for n in range(30))}, tmp_path))
    assert any("has floats, which are no ids" in note for note in layout.notes)


def test_no_order_of_files_changes_the_layout(tmp_path):
    samples = sampled(CASES["WANDS"].files, tmp_path)
    assert sorted(told(laid_out(samples[::-1]))) == sorted(told(laid_out(samples)))


@pytest.mark.skipif(not CHORUS.exists(), reason="the electronics collection is not beside the project")
def test_electronics(tmp_path):
    layout = laid_out(readers.samples(open_source(str(CHORUS), tmp_path).files)[0])
    assert told(layout) == [
        *(
            f"documents {n}.json.zip/{n}.json id=id segment=supplier text=title+short_description title=title"
            for n in (1, 2, 3, 4)
        ),
        "qrels Broad_Query_Set_rated.csv document=docid grade=rating query_text=query",
        "queries Broad_Query_Set_rated.csv* id= text=query",
    ]
    assert any("individual_ratings.csv is left aside" in note for note in layout.notes)


def test_what_is_shown_says_all_of_it(tmp_path):
    samples = sampled({"my.csv": PRODUCTS_CSV, "rated.csv": rows("query docid rating", judged())}, tmp_path)
    text = describe_layout(laid_out(samples), samples)
    expected = (
        "Taken for: documents, queries and judgments in 2 files",
        "documents     my.csv  (csv, commas)",
        "  id          sku  (called so, 40 different in 40 rows)",
        "  segment     brand  (called so, 3 different: Acme, Globex, Initech)",
        "  not used    price",
        "  scale       0..2, 2 is the best (seen in the first rows; --grades 2..0 if it is the other way round)",
        "  my.csv, line 4",
        f"    id          {PRODUCTS[2][0]}",
        "--column id=COLUMN",
    )
    assert [line for line in expected if line not in text] == []
    assert max(map(len, text.splitlines())) <= 110


def test_what_is_shown_obeys_nothing(tmp_path):
    hostile = "\x1b[31mred\x07 \u202egnp.exe</b> 椅" * 30
    file = SourceFile(Path("/x"), "\x1b]0;x\x07.csv", "csv")
    columns = {"id": "n", "\x1b[2Jname": hostile, "text\r\n": hostile + "\ud800"}
    samples = [Sampled(file, [Record(file.name, n, {**columns, "id": f"d{n}"}) for n in range(20)])]
    text = describe_layout(infer_layout(samples, Overrides()), samples)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b[31m" in text
    text.encode()


def test_layouts_depend_on_nothing_but_the_rows(tmp_path):
    samples = sampled(CASES["a BEIR folder"].files, tmp_path)
    first = laid_out(samples)
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            path.unlink()
    assert laid_out(samples) == first


NAMES = st.sampled_from(
    [
        "id",
        "_id",
        "query",
        "query_id",
        "doc_id",
        "title",
        "text",
        "label",
        "rating",
        "user_id",
        "time",
        "a.b",
        "",
        "\x1b[2J",
        "类别",
    ]
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.dates(), st.datetimes(), st.decimals(),
    st.binary(max_size=5), st.lists(st.one_of(st.text(max_size=9), st.none(), st.dictionaries(st.text(max_size=3), st.none()))),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)  # fmt: skip
TABLES = st.lists(
    st.tuples(st.text(max_size=12), st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=12)), max_size=4
)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(TABLES)
def test_nothing_in_rows_breaks_it(tables):
    samples = []
    for place, (name, found) in enumerate(tables):
        file = SourceFile(Path("/x"), f"{place}{name}", "jsonl")
        samples.append(Sampled(file, [Record(file.name, line, row) for line, row in enumerate(found)]))
    try:
        text = describe_layout(infer_layout(samples, Overrides()), samples)
    except InputError as error:
        text = str(error)
    assert all(char.isprintable() or char == "\n" for char in text)
