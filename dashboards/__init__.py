"""Grafana dashboards and Prometheus rules of the connector, as code."""
