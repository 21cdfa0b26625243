"""Losses, metrics, optimizers, schedules, and gradients for adversarial and private training.

Depends on Keras only.
"""
