"""Kinds of inputs that are easily misread: the right values come out, or a refusal that names the reason."""

import pytest

from pipelines.collections.query_file import read_query_file
from tests.pipelines.collections.input_cases import CASES, ingested


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_comes_of_an_input_is_right(case, tmp_path):
    result = ingested(case, tmp_path)
    assert case.right(result), result


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
