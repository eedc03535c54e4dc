"""Erasing a person or a document from everything that holds them, and the certificate of what was searched and found."""
