"""Drills: things that go wrong on purpose, a file for each kind."""
