"""Collections in any format become documents, queries and judgments; other packages import only what is listed here."""

from pipelines.collections.collection import Collection, IngestOptions, read_layout, stage, write_corpus
from pipelines.collections.csv_safe import POOL, file_exists_error, write_safe_csv
from pipelines.collections.query_file import read_query_file
from pipelines.collections.record import FIELDS, BadRow, Record, Sampled, SourceFile
from pipelines.collections.schema.column_features import ColumnFeatures
from pipelines.collections.schema.column_names import words_of
from pipelines.collections.schema.columns import SampleColumn, SampleTable
from pipelines.collections.schema.inspection import describe_layout
from pipelines.collections.tables import read_table, sample_tables

__all__ = [
    "FIELDS",
    "POOL",
    "BadRow",
    "Collection",
    "ColumnFeatures",
    "IngestOptions",
    "Record",
    "SampleColumn",
    "SampleTable",
    "Sampled",
    "SourceFile",
    "describe_layout",
    "file_exists_error",
    "read_layout",
    "read_query_file",
    "read_table",
    "sample_tables",
    "stage",
    "words_of",
    "write_corpus",
    "write_safe_csv",
]
