"""Measures of a release, their intervals, and the gate."""
