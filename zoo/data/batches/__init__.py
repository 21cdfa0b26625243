"""Batches of examples: order, augmentation and padding, with one module for each form of batch."""
