"""What Ratchet does, in pure Python: steps, ranking, evaluation, reports. Runs on a laptop and in a notebook."""
