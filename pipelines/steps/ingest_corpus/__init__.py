"""Steps of the DAG ingest_corpus."""
