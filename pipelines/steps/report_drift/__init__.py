"""Steps of the DAG report_drift."""
