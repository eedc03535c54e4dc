"""Indexes: algorithms, the choice among them by measured recall, building, and incremental updates."""
