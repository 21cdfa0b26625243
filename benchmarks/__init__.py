"""Benchmarks that support the project's claims: `python -m benchmarks [NAME...]`. Not installed with the package."""
