"""Deployments: what the search server says of itself, and how deploy, rollback and promote resume."""
