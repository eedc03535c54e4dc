"""Models: encoders, what computes them, their numeric formats, and their export."""
