"""Collections in any format become documents, queries and judgments.

This is the one door: nothing outside imports what lies behind it.
"""

from pipelines.collections.collection import Collection, IngestOptions, look, stage, write_corpus
from pipelines.collections.csv_safe import POOL, taken, write_sheet
from pipelines.collections.query_file import read_asked
from pipelines.collections.recognition.layout import shown
from pipelines.collections.record import FIELDS

__all__ = [
    "FIELDS",
    "POOL",
    "Collection",
    "IngestOptions",
    "look",
    "read_asked",
    "shown",
    "stage",
    "taken",
    "write_corpus",
    "write_sheet",
]
