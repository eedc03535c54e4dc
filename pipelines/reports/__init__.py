"""Reports: a file for each kind, one frame and one set of charts for all."""
