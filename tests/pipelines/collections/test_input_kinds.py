"""Kinds of inputs that are easily misread: the right values come out, or a refusal that names the reason."""

import pytest

from pipelines.collections.query_file import read_query_file
from pipelines.errors import InputError
from tests.pipelines.collections.input_cases import CASES, NUMBERS, InputCase, contacts, ingested


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_comes_of_an_input_is_right(case, tmp_path):
    result = ingested(case, tmp_path)
    assert case.right(result), result


def test_phone_numbers_as_ids_are_not_in_the_quarantine(tmp_path):
    options = {"mask": True, "column": ["id=phone"], "max_bad_fraction": 0.1}
    ingested(InputCase("", contacts("phone", "national"), lambda _: True, options), tmp_path)
    quarantine = (tmp_path / "scratch/quarantine.csv").read_text()
    assert "duplicate id" in quarantine
    assert not any(number in quarantine for number in NUMBERS["national"])


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("queries.txt", "red lamp, small\nlamp for the garden\n", {"red lamp, small", "lamp for the garden"}),
        ("topics.txt", "1:red lamp\n2:garden chair\n", {"red lamp", "garden chair"}),
        ("searches.csv", "Suchbegriff,Anzahl\nrote Lampe,3\nkleiner Tisch,2\n", {"rote Lampe", "kleiner Tisch"}),
    ],
)
def test_a_query_file_needs_no_certain_names(name, content, texts, tmp_path):
    import pyarrow.parquet

    (tmp_path / name).write_text(content)
    (tmp_path / "written").mkdir()
    (tmp_path / "scratch").mkdir()
    read_query_file(str(tmp_path / name), [], 0.0, tmp_path / "scratch", tmp_path / "written")
    table = pyarrow.parquet.read_table(tmp_path / "written/queries.parquet")
    assert set(table.column("query").to_pylist()) == texts


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("query_id,query\n" + "".join(f"q{n},lamp {n}\n" for n in range(50)) + "r,café\n", "iconv -f cp1252"),
        ("id,history\n" + "".join(f"q{n},P{n}\n" for n in range(50)) + "r,[P1\n", "write a history as a JSON list"),
        ("query_id,query\n" + "q,lamp\nq,chair\n" * 5, "so many are no accident"),
    ],
)
def test_a_query_file_with_one_reason_for_its_bad_rows_is_not_told_to_tolerate_them(content, advice, tmp_path):
    (tmp_path / "asked.csv").write_bytes(content.encode("cp1252"))
    (tmp_path / "written").mkdir()
    (tmp_path / "scratch").mkdir()
    with pytest.raises(InputError, match=advice) as refused:
        read_query_file(str(tmp_path / "asked.csv"), [], 0.0, tmp_path / "scratch", tmp_path / "written")
    assert "--max-bad-fraction" not in refused.value.next_action
