"""Steps of the DAG analyze_experiment."""
