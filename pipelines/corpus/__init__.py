"""A corpus: documents, queries, judgments, interactions and users, and what is read of them and logged about them."""
