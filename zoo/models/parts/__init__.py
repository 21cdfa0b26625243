"""Layers and blocks shared by several models, and implementation techniques that are not part of an architecture.

Depends on Keras only.
"""
