"""The nouns that steps and serving share: corpus, encoder, embeddings, index, release."""
