"""From examples to batches: their order, augmentation and padding, one module a form of batch."""
