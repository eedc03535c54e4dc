"""When a user was last there, how often in the days before, and the fields that the corpus has of the user."""

from datetime import timedelta

from feast import FeatureView, Field, FileSource
from feast.types import Float64, Int64, String

from feature_repo.entities import user

SQL = """
WITH met AS (
    SELECT user_id, max(time) AS last, count(*) FILTER (time >= cut() - INTERVAL 30 DAY) AS shown_30d
    FROM shown WHERE user_id <> '' GROUP BY user_id
)
SELECT user_id, coalesce(fields, '') AS segment, coalesce(shown_30d, 0) AS shown_30d,
    date_diff('second', last, cut()) / 86400.0 AS days_since_last
FROM users FULL JOIN met USING (user_id)
"""

user_activity = FeatureView(
    name="user_activity",
    entities=[user],
    ttl=timedelta(days=3),
    schema=[
        Field(name="segment", dtype=String),
        Field(name="shown_30d", dtype=Int64),
        Field(name="days_since_last", dtype=Float64),
    ],
    source=FileSource(name="user_activity", path="user_activity.parquet", timestamp_field="event_timestamp"),
    tags={"sql": SQL},
)
