"""Facets: more fields of documents, kept under the names of their columns, by which queries are divided into segments."""

import pytest

from pipelines.corpus.documents import documents
from pipelines.errors import InputError
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import call

ROWS = [
    "sku,name,supplier,price",
    "a1,a red wooden chair for the kitchen,Miller,19.90",
    "a2,a green metal lamp for the office,Smith,",
    "a3,a blue glass table for the garden,,",
]


def ingested(tmp_path, **options):
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(ROWS) + "\n")
    corpus = call("ingest", source=str(path), **options).corpus
    return {document.id: document.facets for document in documents(load(open_store(), "corpus", corpus))}


def test_named_columns_become_facets_and_empty_cells_none(home, tmp_path):
    found = ingested(tmp_path, column=["facet=supplier", "facet=price"])
    assert found == {"a1": {"price": "19.90", "supplier": "Miller"}, "a2": {"supplier": "Smith"}, "a3": {}}


def test_nothing_is_a_facet_unless_it_is_named(home, tmp_path):
    assert set(map(str, ingested(tmp_path).values())) == {"{}"}


def test_a_column_that_is_not_there_is_refused(home, tmp_path):
    with pytest.raises(InputError, match="suppliers"):
        ingested(tmp_path, column=["facet=suppliers"])


def test_personal_data_in_facets_is_masked(home, tmp_path):
    with_address = [*ROWS[:1], "a4,a white desk for the office,ann@example.org,5"]
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(with_address) + "\n")
    corpus = call("ingest", source=str(path), column=["facet=supplier"], mask=True).corpus
    (document,) = documents(load(open_store(), "corpus", corpus))
    assert document.facets == {"supplier": "<EMAIL_ADDRESS>"}
