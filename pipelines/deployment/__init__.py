"""Deployments: the readiness of the search server, and how deploy, rollback and promote resume."""
