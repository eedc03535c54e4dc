"""Data quality: staging, suites of checks, language identification and personal data."""
