"""What a document is. Documents have no time: their attributes count as known at every cut."""

from datetime import timedelta

from feast import FeatureView, Field, FileSource
from feast.types import Int64, String

from feature_repo.entities import document

document_attributes = FeatureView(
    name="document_attributes",
    entities=[document],
    ttl=timedelta(days=3),
    schema=[Field(name="segment", dtype=String), Field(name="text_length", dtype=Int64)],
    source=FileSource(name="document_attributes", path="document_attributes.parquet", timestamp_field="event_timestamp"),
    tags={"sql": "SELECT document_id, segment, length(text) AS text_length FROM documents"},
)
