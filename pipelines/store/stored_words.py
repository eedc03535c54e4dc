"""Words that stored artifacts, recipes, options and logs carry and that differ from the glossary of docs/architecture.md.

They keep their spelling, so that a store written by an earlier version stays readable. Code imports them from here.
"""

YARDSTICKS = "yardsticks"
"""Key of `measures.json`: the names of the baselines, in their order."""
