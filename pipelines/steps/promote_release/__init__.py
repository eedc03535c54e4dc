"""Steps of the DAG promote_release."""
