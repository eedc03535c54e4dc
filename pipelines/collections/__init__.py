"""Collections in any format become documents, queries and judgments; other packages import only what is listed here."""

from pipelines.collections.collection import Collection, IngestOptions, read_layout, stage, write_corpus
from pipelines.collections.csv_safe import POOL, file_exists_error, write_safe_csv
from pipelines.collections.query_file import read_query_file
from pipelines.collections.record import FIELDS
from pipelines.collections.schema.inspection import describe_layout

__all__ = [
    "FIELDS",
    "POOL",
    "Collection",
    "IngestOptions",
    "describe_layout",
    "file_exists_error",
    "read_layout",
    "read_query_file",
    "stage",
    "write_corpus",
    "write_safe_csv",
]
