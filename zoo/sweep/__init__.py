"""Training of a grid of configurations, and their comparison."""
