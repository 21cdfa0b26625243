"""Inspection of any built Keras model: its layers, its variables and the tensors that pass through it."""
