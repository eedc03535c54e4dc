"""Airflow plugin: pages for releases, reports and artifacts; notes of dag runs."""
