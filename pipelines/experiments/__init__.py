"""Experiments: from a log of exposures and outcomes to a verdict whose error rate holds at every look."""
