"""How often a document was shown and chosen in the days before, and the share of both, smoothed.

A rate of few events is drawn to that of all documents, as if each had been shown ten times more:
(chosen + 10·rate) / (shown + 10).
"""

from datetime import timedelta

from feast import FeatureView, Field, FileSource
from feast.types import Float64, Int64

from feature_repo.entities import document

SQL = """
WITH events AS (
    SELECT document_id, time, 1 AS shown, 0 AS chosen FROM shown
    UNION ALL SELECT document_id, time, 0, 1 FROM chosen
), counted AS (
    SELECT document_id,
        sum(shown) AS shown_30d, sum(chosen) AS chosen_30d,
        coalesce(sum(shown) FILTER (time >= cut() - INTERVAL 7 DAY), 0) AS shown_7d,
        coalesce(sum(chosen) FILTER (time >= cut() - INTERVAL 7 DAY), 0) AS chosen_7d
    FROM events WHERE time >= cut() - INTERVAL 30 DAY GROUP BY document_id
), rates AS (
    SELECT coalesce(sum(chosen_30d) / nullif(sum(shown_30d), 0), 0.0) AS of_30d,
        coalesce(sum(chosen_7d) / nullif(sum(shown_7d), 0), 0.0) AS of_7d FROM counted
)
SELECT document_id, coalesce(shown_30d, 0) AS shown_30d, coalesce(chosen_30d, 0) AS chosen_30d,
    (coalesce(chosen_30d, 0) + 10 * of_30d) / (coalesce(shown_30d, 0) + 10) AS ctr_30d,
    (coalesce(chosen_7d, 0) + 10 * of_7d) / (coalesce(shown_7d, 0) + 10) AS ctr_7d
FROM documents LEFT JOIN counted USING (document_id), rates
"""

document_interactions = FeatureView(
    name="document_interactions",
    entities=[document],
    ttl=timedelta(days=3),
    schema=[
        Field(name="shown_30d", dtype=Int64),
        Field(name="chosen_30d", dtype=Int64),
        Field(name="ctr_30d", dtype=Float64),
        Field(name="ctr_7d", dtype=Float64),
    ],
    source=FileSource(name="document_interactions", path="document_interactions.parquet", timestamp_field="event_timestamp"),
    tags={"sql": SQL},
)
