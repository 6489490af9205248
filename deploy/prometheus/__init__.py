"""Prometheus: rules, their thresholds and their cases. `generate.py` makes what is generated."""
