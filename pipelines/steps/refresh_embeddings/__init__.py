"""Steps of the DAG refresh_embeddings, and those that make the encoder it uses."""
