"""Steps of the DAG materialize_features."""
