"""Schema inference: which file is which table, which column is which field, what grades mean, by names and first rows."""
