"""What watches the platform: Prometheus' settings and alert rules, and dashboards made by a program."""
