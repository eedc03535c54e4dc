"""Steps of the DAG score_batch."""
