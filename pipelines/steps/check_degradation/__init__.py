"""Steps of the DAG check_degradation."""
