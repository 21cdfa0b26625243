"""Tests of zoo.runs."""
