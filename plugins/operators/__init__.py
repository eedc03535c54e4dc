"""How a step runs: the one operator, its two runtimes and its form."""
