"""Sections of the report, one module for each task that has more than scores to show."""
