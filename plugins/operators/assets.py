"""The assets that chain the DAGs. The `extra` of each event carries the id of its artifact; of a rollback, its reason."""

from airflow.sdk import Asset

CORPUS = Asset("corpus", uri="ratchet://corpus")
INDEX = Asset("index", uri="ratchet://index")
VERDICT = Asset("verdict", uri="ratchet://verdict")
CHALLENGER = Asset("challenger", uri="ratchet://challenger")
CHAMPION = Asset("champion", uri="ratchet://champion")
REBUILD = Asset("rebuild", uri="ratchet://rebuild")
JUDGMENTS = Asset("judgments", uri="ratchet://judgments")
ROLLBACK = Asset("rollback", uri="ratchet://rollback")
RETRAIN = Asset("retrain", uri="ratchet://retrain")
REJUDGE = Asset("rejudge", uri="ratchet://rejudge")
