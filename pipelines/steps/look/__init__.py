"""Steps that inspect or clean a store and belong to no DAG."""
