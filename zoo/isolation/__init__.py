"""Work that may crash or take too much runs in child processes with limits."""
