"""Combine trained classifiers, and calibrate their probabilities."""
