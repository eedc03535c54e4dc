"""Feast's declarations: entities, and one feature view in each other file. docs/add-a-feature.md says how a view is added."""
