"""Which documents have which value in which field: what a search is narrowed to.

In memory are each value once and, for each document that has a field, two numbers of four bytes.
"""

from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.documents import Document
from pipelines.errors import InputError

SEGMENT = "segment"
"""The name of the field that every document has; the others are its facets."""
Places = NDArray[np.int64]
"""Places of documents in the order of their ids, ascending."""


@dataclass
class _Field:
    """One field: the documents that have it, by their places, and the number of the value of each."""

    places: "array[int]" = field(default_factory=lambda: array("i"))
    numbers: "array[int]" = field(default_factory=lambda: array("i"))
    values: dict[str, int] = field(default_factory=dict)

    def having(self, values: Collection[str]) -> Places:
        numbers = [self.values[value] for value in values if value in self.values]
        chosen = np.isin(np.frombuffer(self.numbers, np.int32), numbers)
        return np.frombuffer(self.places, np.int32)[chosen].astype(np.int64)


class DocumentFields:
    """The values of documents' fields.

    >>> fields = DocumentFields()
    >>> for place, brand in enumerate(["acme", "apex", "acme"]):
    ...     fields.add(place, Document(id=str(place), text="chair", facets={"brand": brand}))
    >>> fields.matching({"brand": ["acme"]}).tolist(), fields.matching({"brand": ["apex", "acme"]}).tolist()
    ([0, 2], [0, 1, 2])
    """

    def __init__(self) -> None:
        self._fields: dict[str, _Field] = {}

    def add(self, place: int, document: Document) -> None:
        """Add a document: those that come before it in the order of ids are added before it."""
        own = {SEGMENT: document.segment} if document.segment else {}
        for name, value in (document.facets | own).items():
            column = self._fields.setdefault(name, _Field())
            column.places.append(place)
            column.numbers.append(column.values.setdefault(value, len(column.values)))

    def check(self, names: Collection[str]) -> None:
        """Check that some document has each of these fields.

        Raises:
            InputError: none has one of them.
        """
        if unknown := sorted(set(names) - set(self._fields)):
            known = ", ".join(sorted(self._fields))[:200] or "none: its documents have no fields"
            raise InputError(f"filter by {unknown[0][:80]!r}", f"a field of the release's documents ({known})", "correct it")

    def matching(self, wanted: Mapping[str, Collection[str]]) -> Places:
        """The places of the documents that have, in each of these fields, one of its values that are named.

        Raises:
            InputError: no document has one of the fields.
        """
        self.check(wanted)
        places = [self._fields[name].having(values) for name, values in wanted.items()]
        return reduce(partial(np.intersect1d, assume_unique=True), places)
