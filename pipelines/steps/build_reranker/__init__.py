"""Steps of the DAG build_reranker."""
