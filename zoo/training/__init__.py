"""The training loop and its parts; additions to the loop are in `capabilities`."""
