"""Fields of documents: what a filter matches."""

import random

import pytest

from pipelines.corpus.document_fields import DocumentFields
from pipelines.corpus.document_file import DocumentFile
from pipelines.corpus.documents import Document, documents
from pipelines.errors import InputError
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.corpora import write_corpus


def rows(count: int) -> list[Document]:
    """Some have no segment, some no brand, and one facet has the segment's name."""
    seeded = random.Random(3)
    facets = ["brand", "price", "ünï field"]
    return [
        Document(
            id=f"d{number:04}",
            text="text",
            segment=seeded.choice(["", "chairs", "lamps"]),
            facets={name: seeded.choice(["a", "b", "a=b", ""]) for name in facets if seeded.random() < 0.7}
            | ({"segment": "a facet"} if number % 7 == 0 else {}),
        )
        for number in range(count)
    ]


def value_of(document: Document, name: str) -> str | None:
    return document.segment if name == "segment" and document.segment else document.facets.get(name)


@pytest.mark.parametrize(
    "wanted",
    [
        {"segment": ["chairs"]},
        {"brand": ["a", "b"]},
        {"brand": ["a=b"], "price": ["a"], "segment": ["lamps", "chairs"]},
        {"brand": [""], "ünï field": ["b"]},
        {"segment": ["a facet"]},
        {"brand": ["no such value"]},
        {"brand": ["a", "a", "no such value"]},
    ],
)
def test_what_matches_has_one_value_of_each_field(home, wanted):
    corpus = load(open_store(), "corpus", write_corpus(rows(300)))
    expected = [
        place
        for place, document in enumerate(documents(corpus))
        if all(value_of(document, name) in values for name, values in wanted.items())
    ]
    matching = DocumentFile(corpus).fields.matching(wanted)
    assert matching.tolist() == expected
    assert bool(expected) == ("no such value" not in str(wanted.values()) or len(wanted["brand"]) > 1)


def test_a_field_that_no_document_has():
    fields = DocumentFields()
    with pytest.raises(InputError, match=r"given filter by 'brand'; expected .* \(none: its documents have no fields"):
        fields.matching({"brand": ["a"]})
    fields.add(0, Document(id="a", text="b", segment="c", facets={"colour": "red"}))
    with pytest.raises(InputError, match=r"given filter by 'brand'; expected a field of .* \(colour, segment\)"):
        fields.check({"segment", "brand"})
