"""What users say of a layout."""

import pytest

from pipelines.collections.schema.overrides import Overrides, parse_columns
from pipelines.errors import InputError


def test_options_name_columns():
    given = ["id=sku", "text=name", "text=description", "text=name", "segment=", "qrels.grade=a=b", "document= x"]
    assert parse_columns(given) == {
        "id": ["sku"], "text": ["name", "description"], "segment": [], "qrels.grade": ["a=b"], "document": [" x"],
    }  # fmt: skip


def test_a_field_without_a_role_is_the_documents_where_they_have_it():
    overrides = Overrides(parse_columns(["id=sku", "grade=label", "document=d", "queries.id=qid"]))
    assert overrides.of("documents") == {"id": ("sku",)}
    assert overrides.of("queries") == {"id": ("qid",)}
    assert overrides.of("qrels") == {"grade": ("label",), "document": ("d",)}
    assert overrides.of("interactions") == {"document": ("d",)}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("sku", "FIELD=COLUMN"),
        ("=sku", "FIELD=COLUMN"),
        ("sku=id", "perhaps --column id=sku"),
        ("titel=x", "perhaps --column title=x"),
        ("docs.id=x", "a role: documents, queries"),
        ("qrels.id=x", "a field of qrels: query, query_text, document"),
        ("a.b.c=x", "a role: documents"),
    ],
)
def test_what_is_no_option_is_refused(option, said):
    with pytest.raises(InputError) as caught:
        parse_columns([option])
    assert said in str(caught.value)
