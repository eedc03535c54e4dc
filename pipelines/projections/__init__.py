"""Projections: pictures of the journal and the store in MLflow and DVC."""
