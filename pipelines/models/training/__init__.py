"""Training of encoders and rerankers by the trainers of sentence-transformers: the extra `train`. Serving never imports it."""
