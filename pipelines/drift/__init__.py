"""Drift of the data: what of a day is compared, with which days, and what an alarm starts."""
