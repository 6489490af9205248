"""Grafana: dashboards as code. `generate.py` writes them as JSON, `picture.py` draws them without a Grafana."""
