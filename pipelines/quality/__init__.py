"""Data quality: expectations, languages and personal data."""
