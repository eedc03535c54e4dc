"""The assets that chain the DAGs. Each event's `extra` carries the id of the artifact that it tells of."""

from airflow.sdk import Asset

CORPUS = Asset("corpus", uri="ratchet://corpus")
INDEX = Asset("index", uri="ratchet://index")
VERDICT = Asset("verdict", uri="ratchet://verdict")
CHALLENGER = Asset("challenger", uri="ratchet://challenger")
CHAMPION = Asset("champion", uri="ratchet://champion")
