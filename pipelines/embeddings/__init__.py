"""Embeddings: the layout of vectors in files, incremental refresh, checkpoints, and integrity checks before a commit."""
