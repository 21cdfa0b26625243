"""Robustness of trained classifiers against adversarial examples."""
