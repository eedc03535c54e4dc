"""Statistics: intervals, bootstrap and power, pure numpy and scipy; nothing here knows the store."""
