"""Reading: a path or URI becomes files, and files become records, row by row and in flat memory."""
