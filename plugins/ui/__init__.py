"""Releases and reports inside Airflow."""
