"""Steps that look at a store, or clean it, without making a release."""
