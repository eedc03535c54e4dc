"""What is read of a file: every format, every compression, and every kind of bad row, with what follows it."""

import bz2
import codecs
import csv
import datetime
import decimal
import gzip
import io
import itertools
import json
import lzma
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.collections.reading import delimited, lines, readers
from pipelines.collections.reading.delimited import Rows
from pipelines.collections.reading.json_rows import flattened
from pipelines.collections.reading.lines import Lines
from pipelines.collections.reading.readers import read, sample, samples, sniff
from pipelines.collections.reading.sniffing import Head, NoRows
from pipelines.collections.reading.sources import LocalFile, open_source
from pipelines.collections.record import BadRow, Record, SourceFile
from pipelines.errors import InputError
from tests.conftest import PROJECT


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.fixture
def write(tmp_path):
    """Write a file; returns it as it was sniffed."""

    def made(name: str, content: str | bytes, encoding: str = "utf-8") -> SourceFile:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return sniff(LocalFile(path, name))

    return made


def rows(file: SourceFile, longest: int = lines.LONGEST) -> list[tuple[int, Any]]:
    """Line and fields of each record, line and reason of each bad row."""
    found = read(file, longest)
    return [(row.line, row.fields if isinstance(row, Record) else row.reason) for row in found]


def fields(file: SourceFile) -> list[Any]:
    return [found for _, found in rows(file)]


def one(line: int, number: int, text: str) -> tuple[int, dict[str, str]]:
    return line, {"id": str(number), "text": text}


# Every format in every compression


DOCUMENTS = [
    {"id": "d1", "text": 'a "red", shoe; with | and\ttab', "title": "Shoe"},
    {"id": "d2", "text": "über naïve 漢字 🦊", "title": ""},
    {"id": "d3", "text": '=HYPERLINK("x") <script>alert(1)</script> {{7*7}} \\n \';--', "title": "  spaces  "},
]
FLAT = [{name: value.replace("\t", " ").replace("|", "/") for name, value in row.items()} for row in DOCUMENTS]


def as_csv(delimiter: str, quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(DOCUMENTS[0]), delimiter=delimiter, quoting=quoting)
    writer.writeheader()
    writer.writerows(DOCUMENTS)
    return sink.getvalue().encode()


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(DOCUMENTS), sink)
    return sink.getvalue()


def as_trec() -> bytes:
    made = (
        f"<DOC>\n<DOCNO> {d['id']} </DOCNO>\n<TITLE>{d['title']}</TITLE>\n<TEXT>\n{d['text']}\n</TEXT>\n</DOC>\n"
        for d in DOCUMENTS
    )
    return "".join(made).encode()


FORMATS: dict[str, tuple[bytes, list[dict[str, str]]]] = {
    "a.csv": (as_csv(","), DOCUMENTS),
    "all-quoted.csv": (as_csv(",", csv.QUOTE_ALL), DOCUMENTS),
    "semicolon.csv": (as_csv(";"), DOCUMENTS),
    "a.tsv": (as_csv("\t"), DOCUMENTS),
    "pipe.txt": (as_csv("|"), DOCUMENTS),
    "bare.tsv": (("id\ttext\ttitle\n" + "".join("\t".join(d.values()) + "\n" for d in FLAT)).encode(), FLAT),
    "a.dat": (("id::text::title\n" + "".join("::".join(d.values()) + "\n" for d in FLAT)).encode(), FLAT),
    "a.jsonl": ("".join(json.dumps(d) + "\n" for d in DOCUMENTS).encode(), DOCUMENTS),
    "a.ndjson": ("".join(json.dumps(d, ensure_ascii=False) + "\r\n" for d in DOCUMENTS).encode(), DOCUMENTS),
    "lines.json": ("\n".join(json.dumps(d) for d in DOCUMENTS).encode(), DOCUMENTS),
    "a.json": (json.dumps(DOCUMENTS).encode(), DOCUMENTS),
    "pretty.json": (json.dumps(DOCUMENTS, indent=1, ensure_ascii=False).encode(), DOCUMENTS),
    "wrapped.json": (json.dumps({"count": 3, "data": DOCUMENTS}).encode(), DOCUMENTS),
    "by_key.json": (json.dumps({d["id"]: {"text": d["text"], "title": d["title"]} for d in DOCUMENTS}).encode(), DOCUMENTS),
    "a.parquet": (as_parquet(), DOCUMENTS),
    "without_extension": (as_csv(","), DOCUMENTS),
    "parquet_without_extension": (as_parquet(), DOCUMENTS),
    "jsonl_without_extension": ("".join(json.dumps(d) + "\n" for d in DOCUMENTS).encode(), DOCUMENTS),
    "utf16.csv": (as_csv(",").decode().encode("utf-16"), DOCUMENTS),
    "utf16be.tsv": (codecs.BOM_UTF16_BE + as_csv("\t").decode().encode("utf-16-be"), DOCUMENTS),
    "marked.csv": (codecs.BOM_UTF8 + as_csv(","), DOCUMENTS),
    "marked.jsonl": (codecs.BOM_UTF8 + "".join(json.dumps(d) + "\n" for d in DOCUMENTS).encode(), DOCUMENTS),
    "marked.json": (codecs.BOM_UTF8 + json.dumps(DOCUMENTS).encode(), DOCUMENTS),
    "utf16.json": (json.dumps(DOCUMENTS, ensure_ascii=False).encode("utf-16"), DOCUMENTS),
    "docs.trec": (as_trec(), DOCUMENTS),
}


def same(found: list[dict[str, Any]], wanted: list[dict[str, str]]) -> bool:
    """Whether TREC's or any other format gave the documents; TREC knows no blanks around a text."""
    if found and "docno" in found[0]:
        found = [{"id": row["docno"], "text": row["text"], "title": row["title"]} for row in found]
        wanted = [{name: value.strip() for name, value in row.items()} for row in wanted]
    return found == wanted


@pytest.mark.parametrize("kind", [*COMPRESSED, ".zip"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_in_every_compression(name, kind, tmp_path):
    body, wanted = FORMATS[name]
    path = tmp_path / f"{name}{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, body)
    else:
        path.write_bytes(COMPRESSED[kind](body))
    (opened,) = open_source(str(path), tmp_path / "scratch")
    found = list(read(sniff(opened)))
    assert all(isinstance(row, Record) for row in found), found
    assert same([row.fields for row in found], wanted)
    assert {row.file for row in found} == {opened.name}


# CSV


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["", '"', '""', "\n", "\r\n", ",", "a\rb", " x "]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    table=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8)
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_what_the_csv_module_writes_is_read(table, delimiter, ending, quoting):
    if ending == "\n" and quoting == csv.QUOTE_MINIMAL:  # then the module leaves a bare \r without quotes
        table = [[cell.replace("\r", "") for cell in row] for row in table]
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows(table)
    text = sink.getvalue()
    cut = Lines(io.BytesIO(text.encode()))
    found = list(Rows(cut, delimiter, True, cut.separator))
    assert _without_blank([row[1] for row in found]) == _without_blank(table)


def _without_blank(table: list[list[str]]) -> list[list[str]]:
    """Rows that hold more than blanks: others are skipped."""
    return [row for row in table if any(cell.strip() for cell in row)]


def test_lines_of_rows_are_physical(write):
    file = write("a.csv", 'id,text\r\n\r\n1,"a\r\nb"\r\n2,c\r\n   \r\n,\r\n3,"d\n\n""e"""\r\n4,f')
    assert rows(file) == [one(3, 1, "a\r\nb"), one(5, 2, "c"), one(8, 3, 'd\n\n"e"'), one(11, 4, "f")]


def test_old_mac_lines(write):
    assert rows(write("a.csv", 'id,text\r1,a\r\r2,"b\rc"\r')) == [one(2, 1, "a"), one(4, 2, "b\rc")]


def test_rows_with_other_numbers_of_cells_are_bad(write):
    file = write("a.csv", 'id,text\n1\n2,b,c\n3,"a\nb",c\n4,d\n')
    assert rows(file) == [
        (2, "1 cells for 2 columns"),
        (3, "3 cells for 2 columns"),
        (4, "3 cells for 2 columns"),
        one(6, 4, "d"),
    ]
    assert [row.given for row in read(file) if isinstance(row, BadRow)] == ["1", "2,b,c", "3,a\nb,c"]


def test_a_quote_that_never_closes_is_one_bad_row(write):
    many = "".join(f"{number},plain row\n" for number in range(10, 5000))
    file = write("a.csv", 'id,text\n1,a\n2,"open\n3,b\n' + many + '7,"c, d"\n')
    found = rows(file)
    assert found[:3] == [one(2, 1, "a"), (3, "a quote that never closes"), one(4, 3, "b")]
    assert len(found) == 3 + 4990 + 1
    assert found[-1] == one(4995, 7, "c, d")


def test_a_quote_that_never_closes_up_to_the_end(write):
    assert rows(write("a.csv", 'id,text\n1,a\n2,"b\n3,c')) == [one(2, 1, "a"), (3, "a quote that never closes"), one(4, 3, "c")]


def test_the_look_ahead_for_a_quote_is_bounded(write, monkeypatch):
    """Behind the bound a quote would close: within it the text is one cell, beyond it each line stands alone."""
    file = write("a.csv", 'id,text\n1,"' + "x y\n" * 1000 + 'end"\n2,b\n')
    assert len(rows(file)) == 2
    monkeypatch.setattr(delimited, "LOOK_AHEAD", 400)
    found = rows(file)
    assert found[0] == (2, "a quote that never closes")
    assert found[1] == (3, "1 cells for 2 columns")
    assert found[-1] == one(1003, 2, "b")


def test_quotes_that_never_close_cost_no_more_than_the_file_is_long(tmp_path, monkeypatch):
    """Each line opens a quote; were each look ahead repeated from its beginning, this would be 5,000 times the file."""
    path = tmp_path / "a.csv"
    path.write_text("id,text\n" + '1,"never closed\n' * 5000)
    taken = 0
    further = Rows._further

    def counted(self):
        nonlocal taken
        taken += 1
        return further(self)

    monkeypatch.setattr(Rows, "_further", counted)
    found = rows(sniff(LocalFile(path, "a.csv")))
    assert {reason for _, reason in found} == {"a quote that never closes"}
    assert len(found) == 5000
    assert taken < 3 * 5000


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('2,"a" b', "text after a closing quote"),
        ('2,"say "hi" to', "text after a closing quote"),
        ('2,a\rb,"c"', "a line break outside quotes"),
    ],
)
def test_quotes_in_the_wrong_place(row, reason, write):
    assert rows(write("a.csv", f"id,text\n1,a\n{row}\n3,c\n")) == [one(2, 1, "a"), (3, reason), one(4, 3, "c")]


def test_a_quote_within_a_plain_cell_is_a_letter(write):
    assert rows(write("a.csv", 'id,text\n1,a 15" screen\n2, "b"\n')) == [one(2, 1, 'a 15" screen'), one(3, 2, ' "b"')]


def test_invalid_bytes_cost_their_row_alone(write):
    """One of the rows is latin-1, one breaks off in a character, one has its bad byte on the second line of a cell."""
    body = b'id,text\n1,caf\xc3\xa9\n2,caf\xe9\n3,"a\nb\xff"\n4,d\n5,\xf0\x9f\n6,"\xe9\n\xc3\xa9"\n7,e\n'
    bad = "invalid UTF-8"
    assert rows(write("a.csv", body)) == [
        one(2, 1, "café"), (3, bad), (4, bad), one(6, 4, "d"), (7, bad), (8, bad), one(10, 7, "e"),
    ]  # fmt: skip
    assert next(row.given for row in read(write("a.csv", body)) if isinstance(row, BadRow)) == "2,caf\\xe9"


def test_surrogates_and_overlong_bytes_are_no_utf8(write):
    assert rows(write("a.csv", b"id,text\n1,\xed\xa0\x80\n2,\xc0\xaf\n3,c\n")) == [
        (2, "invalid UTF-8"),
        (3, "invalid UTF-8"),
        one(4, 3, "c"),
    ]


def test_utf16_with_half_a_character(write):
    body = "id,text\n1,a\n".encode("utf-16") + "2,".encode("utf-16-le") + b"\x00\xd8" + "\n3,c\n".encode("utf-16-le") + b"x"
    assert rows(write("a.csv", body)) == [one(2, 1, "a"), (3, "invalid UTF-8"), one(4, 3, "c"), (5, "invalid UTF-8")]


def test_nul_bytes_cost_their_row_alone(write):
    assert rows(write("a.csv", b"id,text\n1,a\n2,b\0b\n3,\"c\n\0\"\n4,d\n")) == [
        one(2, 1, "a"), (3, "a NUL character"), (4, "a NUL character"), one(6, 4, "d"),
    ]  # fmt: skip


def test_a_file_that_is_all_latin1_is_not_guessed_at(write):
    body = "id,text\n" + "".join(f"{number},café {number}\n" for number in range(50))
    file = write("a.csv", body, "latin-1")
    assert set(fields(file)) == {"invalid UTF-8"}
    named = sniff(LocalFile(file.path, file.name), "latin-1")
    assert fields(named)[0] == {"id": "0", "text": "café 0"}


@pytest.mark.parametrize("name", ["ml-100k/u.item", "ml-1m/movies.dat", "u.item.gz"])
def test_movielens_files_are_latin1_as_they_are_known_to_be(name, tmp_path):
    mark = "|" if "u.item" in name else "::"
    body = "".join(f"{number}{mark}Amélie {number} (2001){mark}Comedy\n" for number in range(20)).encode("latin-1")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    (opened,) = open_source(str(path), tmp_path / "scratch")
    file = sniff(opened)
    assert (file.encoding, fields(file)[3]["column 2"]) == ("latin-1", "Amélie 3 (2001)")


def test_movielens_files_in_utf8_stay_so(write):
    body = "1::Amélie (2001)::Comedy\n2::Pokémon (1998)::Children\n".encode() + b"3::Caf\xe9 (1999)::Drama\n"
    file = write("movies.dat", body)
    assert file.encoding == "utf-8"
    assert [found if isinstance(found, str) else found["column 2"] for found in fields(file)] == [
        "Amélie (2001)", "Pokémon (1998)", "invalid UTF-8",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.trec"])
def test_a_row_that_is_too_long_is_skipped_to_its_end(name, write):
    texts = ["short", "x" * 5000 + '\\"' * 10, "short too"]
    body = {
        "a.csv": "id,text\n" + "".join(f"{place},{text}\n" for place, text in enumerate(texts)),
        "a.jsonl": "".join(f'{{"id": "{place}", "text": "{text}"}}\n' for place, text in enumerate(texts)),
        "a.json": "[" + ",".join(f'{{"id": "{place}", "text": "{text}"}}' for place, text in enumerate(texts)) + "]",
        "a.trec": "".join(f"<DOC><DOCNO>{place}</DOCNO><TEXT>{text}</TEXT></DOC>\n" for place, text in enumerate(texts)),
    }[name]
    first = 2 if name == "a.csv" else 1
    file = write(name, body)
    assert [found if isinstance(found, str) else found["text"] for _, found in rows(file, 1000)] == [
        "short",
        "too long",
        "short too",
    ]
    assert [line for line, _ in rows(file, 1000)] == [first, first + 1, first + 2]
    assert len(next(row.given for row in read(file, 1000) if isinstance(row, BadRow))) == 200
    assert "too long" not in fields(file)


def test_a_line_within_quotes_that_is_too_long_ends_the_look_ahead(write):
    """What was not kept of it may hold the quote that closes, or any number of others."""
    file = write("a.csv", 'id,text\n1,"a\n' + "x" * 50 + '\nb"\n2,c\n')
    unclosed = (2, "a quote that never closes")
    assert rows(file, 20) == [unclosed, (3, "too long"), (4, "1 cells for 2 columns"), one(5, 2, "c")]


def test_a_line_is_too_long_by_its_bytes_and_whatever_the_block(monkeypatch):
    for block, text in itertools.product((1, 2, 3, 7, 64), (b"ab\n" + b"x" * 20 + b"\nc\n\nlast", b"\n\n", b"x" * 20, b"a\nb")):
        monkeypatch.setattr(lines, "BLOCK", block)
        found = list(Lines(io.BytesIO(text), longest=10))
        wanted = text.decode().removesuffix("\n").split("\n")
        assert len(found) == len(wanted)
        for line, whole in zip(found, wanted, strict=True):
            assert line == whole if len(whole) <= 10 else (whole.startswith(line) and getattr(line, "reason", "") == "too long")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.trec", "a.xml"])
def test_blocks_may_end_anywhere(name, write, monkeypatch):
    body = {
        "a.csv": 'id,text\r\n1,"ü\r\nx"\r\n2,漢字\r\n',
        "a.jsonl": '{"id": 1, "text": "ü\\n"}\n{"id": 2, "text": "漢字 \\"q\\""}\n',
        "a.json": '[ {"id": 1, "text": "ü\\\\"} , {"id": 2, "text": "漢字 \\"}]", "more": [1, {"a": "]"}]} ]',
        "a.trec": "<DOC>\n<DOCNO>1</DOCNO><TEXT>ü</TEXT>\n</DOC>\n<DOC id='x'>\n<DOCNO>2</DOCNO><TEXT>字 < 5</TEXT>\n</DOC>",
        "a.xml": '<topics>\n<topic number="1"><query>ü</query></topic>\n<topic number="2"><query>字</query></topic>\n</topics>',
    }[name]
    file = write(name, body)
    wanted = rows(file)
    assert len(wanted) == 2
    assert not any(isinstance(found, str) for _, found in wanted)
    for block in (1, 2, 3, 5, 11):
        monkeypatch.setattr(lines, "BLOCK", block)
        assert rows(file) == wanted


# Header lines and delimiters


def test_columns_named_twice_are_named(write):
    with pytest.raises(InputError, match="more than one column 'text', 'title'; expected columns that differ"):
        rows(write("a.csv", "id,text,title,text, title\n1,a,b,c,d\n"))


def test_a_header_that_is_no_row_is_said(write):
    with pytest.raises(InputError, match=r"a\.csv line 1, the header: a quote that never closes"):
        rows(write("a.csv", 'id,"text\n1,a\n2,b\n'))
    with pytest.raises(InputError, match="line 2, the header: invalid UTF-8"):
        rows(write("a.csv", b"\nid,te\xfft\n1,a\n"))


def test_a_header_alone_is_no_row(write):
    assert rows(write("a.csv", "id,text\n")) == []


def test_names_of_columns(write):
    assert sample(write("a.csv", ',text , "x",\n1,a,b,c\n')).columns == ["column 1", "text", '"x"', "column 4"]


def test_atomic_files_lose_the_types_of_their_columns(write):
    file = write("ml.inter", "user_id:token\titem_id:token\trating:float\tclass:token_seq\n1\t2\t3.5\ta b\n")
    assert fields(file) == [{"user_id": "1", "item_id": "2", "rating": "3.5", "class": "a b"}]


@pytest.mark.parametrize(
    "text",
    [
        "1,red shoe\n2,blue hat\n",
        "doc1,red shoe\ndoc2,blue hat\n",
        "B00A1,red shoe\nB00B2,blue hat\nB00C3,green sock\n",
        "a,http://evil.example/1\nb,http://evil.example/2\n",
        "a,This is the first of all the documents in here\nb,another\n",
        "7,7\n8,8\n",
    ],
)
def test_a_first_row_of_values_is_no_header(text, write):
    file = write("a.csv", text)
    assert file.columns == ("column 1", "column 2")
    assert len(rows(file)) == text.count("\n")
    assert rows(file)[0][0] == 1


@pytest.mark.parametrize("header", ["id,text", "Product ID,Description", "q1,q2", "name,2019", "text,label"])
def test_a_first_row_of_names_is_a_header(header, write):
    file = write("a.csv", f"{header}\nabc,red shoe\nabd,blue hat\n")
    assert file.columns == ()
    assert sample(file).columns == header.split(",")


@pytest.mark.parametrize(
    ("name", "text", "delimiter", "first"),
    [
        ("a.csv", "id;name;price\n1;shoe, red;2,50\n2;hat, x;3,50\n", ";", {"id": "1", "name": "shoe, red", "price": "2,50"}),
        ("a.tsv", "id\ttext\n1\tone, two, three\n2\tfour\n", "\t", {"id": "1", "text": "one, two, three"}),
        ("a", "id\ttext\n1\tone, two\n2\tthree, four\n", "\t", {"id": "1", "text": "one, two"}),
        ("a", "1\tone, two, x\n2\tthree, four, y\n", "\t", {"column 1": "1", "column 2": "one, two, x"}),
        ("a.csv", 'id,text\n1,"one; two; three"\n2,"four|five"\n', ",", {"id": "1", "text": "one; two; three"}),
        ("a.csv", "id,title,genres\n1,Heat,Action|Crime\n2,Up,Comedy|Drama\n", ",", {"id": "1", "title": "Heat", "genres": "Action|Crime"}),  # noqa: E501
        ("movies.dat", "1::Heat, The::Action|Crime\n2::Up, Up::Drama|War\n", "::", {"column 1": "1", "column 2": "Heat, The", "column 3": "Action|Crime"}),  # noqa: E501
        ("a.txt", "1|Heat, The|x\n2|Up|y\n", "|", {"column 1": "1", "column 2": "Heat, The", "column 3": "x"}),
        ("a.csv", "text\nred shoe\nblue, hat\n", ",", {"text": "red shoe"}),
        ("a.csv", 'text\n"red, shoe"\n"blue, hat"\n', ",", {"text": "red, shoe"}),
        ("a.txt", "red shoe\nblue, warm hat\nsock, left, one\nx\n", "", {"column 1": "red shoe"}),
        ("a.txt", "query\nred shoe\nblue, warm hat\n", "", {"query": "red shoe"}),
    ],
)  # fmt: skip
def test_the_delimiter_is_the_one_that_cuts_rows_alike(name, text, delimiter, first, write):
    file = write(name, text)
    assert (file.format, file.delimiter, fields(file)[0]) == ("csv", delimiter, first)


def test_a_file_is_judged_by_its_whole_lines():
    assert Head("a", b"x\ny\nz", whole=False, encoding="utf-8").lines() == ["x", "y"]
    assert Head("a", b"x\ny\nz", whole=True, encoding="utf-8").lines() == ["x", "y", "z"]


def test_a_table_of_bad_rows_is_still_a_table(write):
    file = write("a.csv", "id,text\n" + "".join(f"{number},a, b, c\n" for number in range(20)))
    assert fields(file) == ["4 cells for 2 columns"] * 20


def test_texts_that_begin_with_a_quote_where_nothing_is_quoted(write):
    """As MS MARCO's passages lie: tabs, no header, quotes are letters."""
    text = '0\t"Hello" he said\n1\t"A quote that only begins\n2\tplain\n3\t"all of it"\n'
    file = write("collection.tsv", text)
    assert not file.quoted
    assert [found["column 2"] for found in fields(file)] == [
        '"Hello" he said',
        '"A quote that only begins',
        "plain",
        '"all of it"',
    ]


def test_quotes_in_tabs_are_quotes_where_one_had_to_be(write):
    file = write("a.tsv", 'id\ttext\n1\t"a ""b"" c"\n2\td\n3\t"e\nf"\n')
    assert file.quoted
    assert rows(file) == [one(2, 1, 'a "b" c'), one(3, 2, "d"), one(4, 3, "e\nf")]


def test_ids_that_are_floats_and_formulas_stay_as_they_are(write):
    file = write("a.csv", "id,text\n1.0,=1+1\n1e3,+cmd|' /C calc'!A0\n")
    assert fields(file) == [{"id": "1.0", "text": "=1+1"}, {"id": "1e3", "text": "+cmd|' /C calc'!A0"}]


# JSON


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "2"', "not JSON"),
        ("{'id': '2'}", "not JSON"),
        ('["id", 2]', "not an object"),
        ("2", "not an object"),
        ('"2"', "not an object"),
        ("null", "not an object"),
        ('{"id": "2", "id": "3"}', "a key given twice"),
        ('{"id": "2", "a": {"b": 1, "b": 2}}', "a key given twice"),
        ('{"id": "2", "a.b": 1, "a": {"b": 2}}', "a key given twice"),
        ('{"id": "2"} {"id": "3"}', "not JSON"),
        ('{"id": "a\tb"}', "not JSON"),
        ('{"id": "\\ud800"}', "half a character"),
        ('{"\\udfff": "a"}', "half a character"),
        ('{"id": ["a\\u0000b"]}', "a NUL character"),
        ('{"id": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"id": ' + "9" * 5000 + "}", "not JSON"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_a_line_that_is_no_row_is_bad_and_reading_goes_on(line, reason, write):
    good = '{"id": "1"}\n'
    assert rows(write("a.jsonl", f"{good}{line}\n\n{good}")) == [(1, {"id": "1"}), (2, reason), (4, {"id": "1"})]
    if "{'" not in line and '"2"}' not in line and line != '{"id": "2"':
        assert rows(write("a.json", f"[{good},{line},{good}]")) == [(1, {"id": "1"}), (2, reason), (3, {"id": "1"})]


def test_values_keep_their_types(write):
    text = (
        '{"id": 12345678901234567890123, "f": 1.5, "n": null, "t": true, "l": ["a", 1], "o": {"p": {"q": 1}}, "e": {},'
        ' "x": "\\ud83e\\udd8a \\\\u0000"}\n'
    )
    wanted = {
        "id": 12345678901234567890123,
        "f": 1.5,
        "n": None,
        "t": True,
        "l": ["a", 1],
        "o.p.q": 1,
        "e": {},
        "x": "🦊 \\u0000",
    }
    assert fields(write("a.jsonl", text)) == [wanted]
    assert fields(write("a.json", f"[{text}]")) == [wanted]


LETTERS = st.text(st.sampled_from('a"\\\\{}[],:\n é漢🦊'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | LETTERS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(LETTERS.map(lambda key: f"k{key.replace('.', '')}"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    objects=st.lists(st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, min_size=1), max_size=5),
    block=st.sampled_from([1, 2, 3, 7, 1 << 18]),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_what_the_json_module_writes_is_read(objects, block, indent, ascii_only):
    text = json.dumps(objects, indent=indent, ensure_ascii=ascii_only)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        path = Path(folder) / "a.json"
        path.write_text(text, encoding="utf-8")
        assert fields(SourceFile(path, "a.json", "json")) == [flattened(one) for one in objects]


def test_numbers_that_json_does_not_know(write):
    for name, text in (
        ("a.jsonl", '{"id": 1, "x": NaN}\n{"id": 2, "x": Infinity}\n'),
        ("a.json", '[{"id": 1, "x": NaN}, {"id": 2, "x": Infinity}]'),
    ):
        found = fields(write(name, text))
        assert [found[0]["id"], str(found[0]["x"]), found[1]["x"]] == [1, "nan", float("inf")]


def test_invalid_bytes_cost_their_object_alone(write):
    objects = [b'{"id": 1, "t": "\xc3\xa9"}', b'{"id": 2, "t": "\xe9"}', b'{"id": 3, "t": "a\0"}', b'{"id": 4}']
    assert rows(write("a.jsonl", b"\n".join(objects))) == [
        (1, {"id": 1, "t": "é"}),
        (2, "invalid UTF-8"),
        (3, "a NUL character"),
        (4, {"id": 4}),
    ]
    assert rows(write("a.json", b"[" + b", ".join(objects) + b"]")) == [
        (1, {"id": 1, "t": "é"}),
        (2, "invalid UTF-8"),
        (3, "not JSON"),
        (4, {"id": 4}),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[]", []),
        ("{}", []),
        (' [\n{"id": 1},\n{"id": 2}\n]\n', [{"id": 1}, {"id": 2}]),
        ('{"version": "1", "info": {"a": 1}, "docs": [{"id": 1}], "tags": ["x"]}', [{"id": 1}]),
        ('{"responseHeader": {"status": 0}, "response": {"numFound": 1, "docs": [{"id": 1}]}}', [{"id": 1}]),
        ('{"hits": {"total": {"value": 1}, "hits": [{"_id": "1", "_source": {"t": "a"}}]}}', [{"_id": "1", "_source.t": "a"}]),
        ('{"d1": {"t": "a"}, "d2": {"id": "other", "t": "b"}}', [{"id": "d1", "t": "a"}, {"id": "other", "t": "b"}]),
        ('{"id": 1, "title": "a", "reviews": [{"stars": 1}]}', [{"id": 1, "title": "a", "reviews": [{"stars": 1}]}]),
        ('{"text": "a", "meta": {"b": 1}}', [{"text": "a", "meta.b": 1}]),
        ('{\n"id": 1\n}\n{\n"id": 2\n}\n', [{"id": 1}, {"id": 2}]),
        ('[{"id": 1}, [2], 3, "a,]", null, {"id": 4}]', [{"id": 1}, *["not an object"] * 4, {"id": 4}]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_where_the_rows_of_a_document_lie(text, wanted, write):
    file = write("a.json", text)
    assert (file.format, fields(file)) == ("json", wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"id": 1}, {"id": 2', "item 2: the file ends within a value"),
        ('[{"id": 1}, {"id": 2}', r"item 2: ',' is missing"),
        ('[{"id": 1} {"id": 2}]', r"item 1: ',' is missing"),
        ('[{"id": 1}] x', "something follows its end"),
        ('{"data": [{"id": 1}]', "',' is missing"),
        ('{"a": [{"id": 1}], "b": [{"id": 2}]}', r"several lists of objects \(a, b\)"),
        ('{"a": {"id": 1}, 2: {"id": 2}}', "a key is missing"),
    ],
)
def test_a_document_that_can_not_be_walked_is_a_sentence(text, said, write):
    with pytest.raises(InputError, match=said):
        rows(write("a.json", text))


def test_a_second_list_far_behind_the_first_is_not_lost(write):
    far = json.dumps({"a": [{"id": 1, "text": "x" * 2_000_000}], "b": [{"id": 2}]})
    with pytest.raises(InputError, match=r"several lists of objects \(a, b\)"):
        rows(write("a.json", far))


def test_a_text_that_begins_as_json_is_a_table_where_its_name_says_so(write):
    assert fields(write("a.csv", "id,text\n[1],{a}\n")) == [{"id": "[1]", "text": "{a}"}]
    assert fields(write("b.csv", "[id],text\n1,a\n")) == [{"[id]": "1", "text": "a"}]


# Parquet


def test_parquet_values_are_plain(tmp_path, write):
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 6000, tzinfo=datetime.UTC)
    table = pyarrow.table({
        "id": pyarrow.array([decimal.Decimal(7), None], pyarrow.decimal128(20, 0)),
        "price": pyarrow.array([decimal.Decimal("1.50"), None], pyarrow.decimal128(9, 2)),
        "day": pyarrow.array([moment.date(), None]),
        "at": pyarrow.array([moment, None], pyarrow.timestamp("ns", "UTC")),
        "kind": pyarrow.array(["a", "b"]).dictionary_encode(),
        "old": pyarrow.array([b"caf\xc3\xa9", b"\xff"], pyarrow.binary()),
        "tags": pyarrow.array([["x", "y"], None]),
        "meta": pyarrow.array([{"year": 1999, "by": {"name": "ann"}}, {"year": None, "by": None}]),
        "large": pyarrow.array(["é", None], pyarrow.large_string()),
        "n": pyarrow.array([2**62, None]),
    })  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "made.parquet")
    found = rows(sniff(LocalFile(tmp_path / "made.parquet", "made.parquet")))
    assert found == [
        (1, {
            "id": 7, "price": decimal.Decimal("1.50"), "day": moment.date(), "at": moment, "kind": "a", "old": "café",
            "tags": ["x", "y"], "meta.year": 1999, "meta.by.name": "ann", "large": "é", "n": 2**62,
        }),
        (2, {
            "id": None, "price": None, "day": None, "at": None, "kind": "b", "old": b"\xff", "tags": None, "meta.year": None,
            "meta.by": None, "large": None, "n": None,
        }),
    ]  # fmt: skip
    assert (type(found[0][1]["id"]), type(found[0][1]["at"])) == (int, datetime.datetime)


def test_parquet_rows_with_bad_values_are_bad_alone(tmp_path):
    texts = [b"ok", b"\xff\xfe", b"a\0b", b"x" * 50, "é".encode()]
    column = pyarrow.array(texts, pyarrow.binary()).view(pyarrow.string())
    far = pyarrow.array([0, 0, 0, 0, 10**18], pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(pyarrow.table({"text": column, "at": far}), tmp_path / "a.parquet")
    found = rows(sniff(LocalFile(tmp_path / "a.parquet", "a.parquet")), 40)
    assert [line for line, _ in found] == [1, 2, 3, 4, 5]
    assert found[0][1]["text"] == "ok"
    assert [reason for _, reason in found[1:]] == ["invalid UTF-8", "a NUL character", "too long", "a time out of range"]


def test_parquet_texts_that_are_too_long_are_bad_alone(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3], "text": ["a", "x" * 50, "c"]}), tmp_path / "a.parquet")
    file = sniff(LocalFile(tmp_path / "a.parquet", "a.parquet"))
    assert rows(file, 40) == [(1, {"id": 1, "text": "a"}), (2, "too long"), (3, {"id": 3, "text": "c"})]


@pytest.mark.parametrize("harm", ["no Parquet", "cut off", "middle changed", "columns twice"])
def test_parquet_that_can_not_be_read_is_a_sentence(harm, tmp_path):
    path = tmp_path / "a.parquet"
    names = ["id", "id"] if harm == "columns twice" else ["id", "text"]
    columns = [pyarrow.array([str(number) for number in range(5000)])] * 2
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names), path)
    whole = path.read_bytes()
    harmed = {
        "no Parquet": b"id,text\n1,a\n",
        "cut off": whole[: len(whole) // 2],
        "middle changed": whole[:100] + b"\xff" * 200 + whole[300:],
        "columns twice": whole,
    }[harm]
    path.write_bytes(harmed)
    with pytest.raises(InputError, match=r"a\.parquet"):
        rows(sniff(LocalFile(path, "a.parquet")))


def test_parquet_with_rows_that_no_memory_holds_is_refused(monkeypatch, tmp_path):
    from pipelines.collections.reading import columnar

    pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 10_000]}), tmp_path / "a.parquet", compression="none")
    monkeypatch.setattr(columnar, "LONGEST", 1000)
    with pytest.raises(InputError, match="bytes on average"):
        rows(sniff(LocalFile(tmp_path / "a.parquet", "a.parquet")))


# TREC


def test_trec_documents(write):
    text = """<!-- a comment of the collection -->
<DOC>
<DOCNO> LA010189-0001 </DOCNO>
<DATE>
<P>
January 1, 1989
</P>
</DATE>
<HEADLINE>
<P>
AT&amp;T &lt; 5 &reg &hyph;
</P>
</HEADLINE>
<TEXT>
<P>
One <b>bold</b> <script>alert(1)</script> word.
</P>
</TEXT>
<TEXT>Another part, 3 < 4.</TEXT>
</DOC>
<DOC id="AFP-1" type='story'><TEXT>short</TEXT></DOC><DOC><DOCNO>x</DOCNO>loose words<DATE>1994<BY>ann</BY> and more</DOC>

<doc>
<docno>small</docno><title>small letters</title>
</doc>
"""
    file = write("la010189", text)
    assert file.format == "trec documents"
    found = rows(file)
    assert [line for line, _ in found] == [2, 21, 21, 23]
    assert found[0][1] == {
        "docno": "LA010189-0001", "date": "January 1, 1989", "headline": "AT&T < 5 &reg &hyph;",
        "text": "One <b>bold</b> <script>alert(1)</script> word.\nAnother part, 3 < 4.",
    }  # fmt: skip
    assert found[1][1] == {"id": "AFP-1", "type": "story", "text": "short"}
    assert found[2][1] == {"docno": "x", "date": "1994", "by": "ann", "text": "loose words\nand more"}
    assert found[3][1] == {"docno": "small", "title": "small letters"}


def test_trec_pages_stay_as_they_were_fetched(write):
    page = "<html><HEAD><TITLE>T</TITLE></HEAD><p>a <B>b</b>&lt;</html>"
    file = write("GX000", f"<DOC>\n<DOCNO>GX000-1</DOCNO>\n<DOCHDR>\nhttp://x/\n</DOCHDR>\n{page}\n</DOC>\n")
    assert fields(file)[0]["docno"] == "GX000-1"
    assert "<p>a" in fields(file)[0]["text"]


def test_trec_documents_that_are_none(write):
    text = (
        "<DOC>\n<DOCNO>1</DOCNO>\n<TEXT>a</TEXT>\n</DOC>\n"
        "<DOC>\n<DOCNO>2</DOCNO>\n<TEXT>never ends\n"
        "<DOC>\n<DOCNO>3</DOCNO>\n<TEXT>b</TEXT>\n</DOC>\nstray words\n"
        "<DOC>\n<DOCNO>4</DOCNO>\n<TEXT>caf\xe9</TEXT>\n</DOC>\n"
        "<DOC>\n<DOCNO>5</DOCNO>\n<TEXT>nul\0</TEXT>\n</DOC>\n"
        "<DOC>\n<DOCNO>6</DOCNO>\n<TEXT>c</TEXT>\n</DOC>\n<DOC>\n<DOCNO>7</DOCNO>\n"
    )
    found = rows(write("a.sgml", text, "latin-1"))
    assert [(line, row if isinstance(row, str) else row["docno"]) for line, row in found] == [
        (1, "1"), (5, "a document that never ends"), (8, "3"), (11, "text outside a document"), (13, "invalid UTF-8"),
        (17, "a NUL character"), (21, "6"), (25, "a document that never ends"),
    ]  # fmt: skip


def test_trec_documents_of_nothing_but_tags_are_read_in_time(write):
    """Each unclosed tag would look for its end to the last letter."""
    body = "<a><b>" * 100_000 + "</c>" * 100_000 + "<c>" * 100_000
    file = write("a.trec", f"<DOC><DOCNO>1</DOCNO><TEXT>x</TEXT>{body}</DOC>")
    assert fields(file)[0]["docno"] == "1"


TOPICS = {
    "topics.301-302": """<top>

<num> Number: 301
<title> Organized Crime

<desc> Description:
Identify organizations
that participate.

<narr> Narrative:
A relevant document: must say so.

</top>
<top>
<num> Number: 302
<title> Polio
<desc> Description: none
<narr> Narrative: none
</top>
""",
    "closed.txt": "<top><num>301</num><title>Organized Crime</title></top>\n<top><num>302</num><title>x</title></top>",
    "topics.xml": '<?xml version="1.0"?>\n<topics task="x">\n<topic number="301"><query>Organized Crime</query>'
    "<question>who &amp; what</question></topic>\n<topic number='302'><query>Polio</query></topic>\n</topics>",
    "plain.xml": '<topics><topic number="301">\nOrganized Crime\n</topic><topic number="302">Polio</topic></topics>',
    "mq.txt": "301:Organized Crime\n302:Polio: a, b\n",
}


@pytest.mark.parametrize("name", TOPICS)
def test_trec_topics(name, write):
    file = write(name, TOPICS[name])
    assert file.format == "trec topics"
    found = fields(file)
    assert len(found) == 2
    assert (found[0].get("num") or found[0]["number"]) == "301"
    assert "Organized Crime" in found[0].values()
    if name == "topics.301-302":
        assert found[0] == {
            "num": "301", "title": "Organized Crime", "desc": "Identify organizations that participate.",
            "narr": "A relevant document: must say so.",
        }  # fmt: skip
    if name == "mq.txt":
        assert found[1] == {"num": "302", "title": "Polio: a, b"}


def test_topics_between_tabs_are_a_table(write):
    file = write("queries.tsv", "301\tInternational: Organized, Crime\n302\tPolio\n")
    assert (file.format, file.delimiter, file.columns) == ("csv", "\t", ("column 1", "column 2"))


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        (
            "qrels.txt",
            "301 0 FT911-1 1\n301\t0   FT911-2  0\n\n302 0 x -1\n",
            ("query_id", "iteration", "document_id", "grade"),
        ),
        ("anything", "301 Q0 FT911-1 1\n301 Q0 FT911-2 0\n302 Q0 x 2\n", ("query_id", "iteration", "document_id", "grade")),
        (
            "words",
            "301 0 FT911-1 Exact\n301 0 FT911-2 None\n302 0 x Exact\n",
            ("query_id", "iteration", "document_id", "grade"),
        ),
        ("qrels/test.tsv", "301\tFT911-1\t1\n301\tFT911-2\t0\n302\tx\t1\n", ("query_id", "document_id", "grade")),
        ("judged", "301 FT911-1 1\n301 FT911-2 0\n302 x 1\n", ("query_id", "document_id", "grade")),
        (
            "prels",
            "301 0 FT911-1 1 0.5\n301 0 FT911-2 0 0.25\n302 0 x 1 1\n",
            ("query_id", "iteration", "document_id", "grade", "rest"),
        ),
        ("diversity.qrels", "301 1 FT911-1 1\n301 2 FT911-2 0\n302 1 x 1\n", ("query_id", "iteration", "document_id", "grade")),
    ],
)
def test_trec_qrels(name, text, columns, write):
    file = write(name, text)
    assert (file.format, file.columns) == ("trec qrels", columns)
    found = rows(file)
    assert len(found) == 3
    assert (found[0][1]["query_id"], found[0][1]["document_id"], found[1][1]["document_id"]) == ("301", "FT911-1", "FT911-2")
    assert [line for line, _ in found][:2] == [1, 2]


def test_bad_lines_of_qrels(write):
    file = write("qrels", b"1 0 a 1\n2 0 b\n3 0 c\xff 1\n4 0 d 1 x\n" + b"5 0 e 1\n" * 40)
    assert rows(file)[:5] == [
        (1, {"query_id": "1", "iteration": "0", "document_id": "a", "grade": "1"}),
        (2, "3 cells for 4 columns"),
        (3, "invalid UTF-8"),
        (4, "5 cells for 4 columns"), (5, {"query_id": "5", "iteration": "0", "document_id": "e", "grade": "1"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n1\td1\t1\n"),
        ("qrels.csv", "query,document,grade\n1,d1,1\n"),
        ("a.csv", "1, 2, 3\n4, 5, 6\n"),
    ],
)
def test_tables_that_look_like_qrels_are_tables(name, text, write):
    assert write(name, text).format == "csv"


# What is none of them


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"\n \n\t\n" * 1000, "all lines are blank"),
        ("a.csv", b"\xef\xbb\xbf\n\n", "all lines are blank"),
        ("a.csv", bytes(range(256)) * 20, "is no text"),
        ("a.csv", "id,text\n1,a\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("a", b"<html><body>hi</body></html>", "tags are none of TREC's"),
        ("a.json", b"hello\n", "does not begin as JSON does"),
        ("run.txt", b"301 Q0 FT911-1 1 0.5 tag\n301 Q0 FT911-2 2 0.4 tag\n", "a ranked run"),
    ],
)
def test_what_is_none_of_the_formats_is_said(name, content, said, write):
    with pytest.raises(NoRows, match=said):
        write(name, content)


def test_files_of_a_folder_that_are_none_of_the_formats_are_left_aside(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "blank.csv").write_text("\n\n")
    (tmp_path / "run.txt").write_text("1 Q0 a 1 0.5 tag\n")
    found, aside = samples(open_source(str(tmp_path), tmp_path / "scratch").files)
    assert [one.file.name for one in found] == ["a.csv"]
    assert {one.name: one.reason for one in aside} == {"blank.csv": "in which all lines are blank", "run.txt": "a ranked run"}
    (tmp_path / "a.csv").unlink()
    with pytest.raises(NoRows):
        samples(open_source(str(tmp_path), tmp_path / "scratch").files)


def test_a_sample_is_the_first_rows_and_the_bad_ones_among_them(write, monkeypatch):
    file = write("a.csv", "id,text\n1,a\n2\n" + "".join(f"{number},b\n" for number in range(1000)))
    found = sample(file, 50)
    assert (len(found.records), [row.line for row in found.bad], found.columns) == (49, [3], ["id", "text"])
    monkeypatch.setattr(readers, "SAMPLE", 20)
    assert len(sample(file, 50).records) < 20


def test_a_file_that_is_cut_off_stops_the_reading(tmp_path):
    path = tmp_path / "a.csv.gz"
    body = "id,text\n" + "".join(f"{number},{random.Random(number).random()}\n" for number in range(50_000))
    path.write_bytes(gzip.compress(body.encode())[:-1000])
    found = read(SourceFile(path, "a.csv.gz", "csv", "gzip"))
    assert len(list(itertools.islice(found, 1000))) == 1000
    with pytest.raises(InputError, match=r"a\.csv\.gz, which is cut off"):
        list(found)


# Memory and time


MEASURE = """
import sys, time
from pathlib import Path
from pipelines.collections.reading.readers import read, sniff
from pipelines.collections.record import Record
from pipelines.collections.reading.sources import open_source
(opened,) = open_source(sys.argv[1], Path(sys.argv[2]))
file, counts, begun = sniff(opened), [0, 0], time.process_time()
for row in read(file):
    counts[type(row) is Record] += 1
seconds = time.process_time() - begun
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(*counts, peak, seconds)
"""


def measured(path: Path) -> tuple[int, int, int, float]:
    """Bad rows, records, peak kilobytes and processor seconds of a process that reads a file."""
    command = [sys.executable, "-c", MEASURE, str(path), str(path.parent / "scratch")]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    return int(answer[0]), int(answer[1]), int(answer[2]), float(answer[3])


def table(path: Path, count: int) -> Path:
    text = "some words, and more, that stand for a text of a document " * 2
    if path.suffix == ".parquet":
        names = ["id", "text"]
        with pyarrow.parquet.ParquetWriter(path, pyarrow.schema([(name, pyarrow.string()) for name in names])) as writer:
            writer.write_table(
                pyarrow.table({"id": [str(n) for n in range(count)], "text": [f"{text}{n}" for n in range(count)]}), count
            )
        return path
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("id,text\n")
        opening = "[" if path.suffix == ".json" else ""
        for number in range(count):
            if path.suffix == ".csv":
                file.write(f'{number},"{text}{number}"\n')
            else:
                comma = opening if number == 0 else "," if opening else ""
                file.write(f'{comma}{{"id": "{number}", "text": "{text}{number}"}}\n')
        file.write("]" if opening else "")
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet"])
def test_memory_does_not_grow_with_the_rows(kind, tmp_path):
    few, many = (measured(table(tmp_path / f"{count}.{kind}", count)) for count in (10_000, 100_000))
    assert (few[:2], many[:2]) == ((0, 10_000), (0, 100_000))
    assert many[2] < 1.1 * few[2]
    assert many[3] < 3  # a million in 30 s


def test_ten_million_blank_lines_are_nothing(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"\n" * 5_000_000 + b"id,text\n1,a\n" + b"\n" * 5_000_000 + b"2,b\n" + b",\n" * 100_000)
    bad, records, peak, seconds = measured(path)
    assert (bad, records) == (0, 2)
    assert peak < 120_000
    assert seconds < 20


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "trec"])
def test_a_line_far_longer_than_memory_should_hold_is_skipped(kind, tmp_path):
    """120 MB here, and more than that if they were held."""
    before, after = {
        "csv": (b"id,text\n1,a\n2,", b"\n3,b\n"),
        "jsonl": (b'{"id": 1}\n{"id": "', b'"}\n{"id": 3}\n'),
        "json": (b'[{"id": 1},{"id": "', b'"},{"id": 3}]'),
        "trec": (b"<DOC><DOCNO>1</DOCNO></DOC>\n<DOC><DOCNO>", b"</DOCNO></DOC>\n<DOC><DOCNO>3</DOCNO></DOC>\n"),
    }[kind]
    path = tmp_path / f"a.{kind}"
    with path.open("wb") as file:
        file.write(before)
        file.writelines(b"x" * (1 << 20) for _ in range(120))
        file.write(after)
    bad, records, peak, _ = measured(path)
    assert (bad, records) == (1, 2)
    assert peak < 110_000
