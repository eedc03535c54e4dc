"""Live traffic: what was shown, what was clicked, and what an experiment says."""
