"""Ensembles of trained classifiers, and calibration of their probabilities."""
