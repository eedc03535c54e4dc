"""Recognition: which file is what, which column is which field, what grades mean, by names and first rows."""
