"""Retrieval: everything that answers a query. Steps and the search server share it."""
