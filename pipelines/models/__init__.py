"""Models: encoders and their variants (backend × numeric format), their export, quantization and inference."""
