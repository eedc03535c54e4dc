"""Steps of the DAG build_encoder."""
