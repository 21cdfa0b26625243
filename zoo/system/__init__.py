"""Operating-system services: atomic file writes, signals and facts about the machine."""
