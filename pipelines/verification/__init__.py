"""Whether a stored release is what it says, from its files alone: ids, files, measures, verdict, journal, answers."""
