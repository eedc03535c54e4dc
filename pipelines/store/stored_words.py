"""Words that stored artifacts, recipes, options and logs carry and that differ from the glossary of docs/architecture.md.

They keep their spelling, so that a store written by an earlier version stays readable. Code imports them from here.
"""

BASELINES = "yardsticks"
"""Key of `measures.json`; the field: baselines, the names of those that ranked the same queries, in their order."""
