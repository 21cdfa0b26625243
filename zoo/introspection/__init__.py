"""Observe any built Keras model: its layers and the tensors that pass through them."""
