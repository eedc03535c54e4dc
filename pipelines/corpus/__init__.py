"""The corpus: documents, queries, judgments, interactions and users; how corpora differ; the schemas of the server's logs."""
