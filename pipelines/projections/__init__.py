"""Projections: the journal and the store as MLflow and DVC show them; nothing reads them back to route."""
