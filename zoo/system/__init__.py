"""What depends on the operating system: files that are written whole, signals, and facts about the machine."""
