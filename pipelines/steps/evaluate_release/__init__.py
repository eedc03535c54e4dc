"""Steps of the DAG evaluate_release."""
