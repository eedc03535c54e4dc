"""Indexes: algorithms, selection by measured recall and latency, building, and incremental updates."""
