"""Embeddings: how vectors lie in files, how a refresh keeps what did not change, and what is checked before they appear."""
