"""Collections: sources in any format, read row by row and made into a corpus."""
