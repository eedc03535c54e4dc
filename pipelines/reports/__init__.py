"""One frame for every report."""
