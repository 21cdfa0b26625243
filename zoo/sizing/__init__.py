"""Model and batch sizes found before training: the widths a budget allows, and the fastest batch size."""
