"""Stages of a release: a retriever is one file here and one line in `table.RETRIEVERS`; fusion combines their rankings."""
