"""Find sizes before training: the widths that a budget allows and the fastest batch size."""
