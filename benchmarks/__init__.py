"""Measurements that the project's claims rest on: `python -m benchmarks [NAME...]`. Not installed."""
