"""The store: immutable artifacts named by their recipe, the journal, lineage and garbage collection."""
