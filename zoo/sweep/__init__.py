"""Train a grid of configurations side by side and compare them."""
