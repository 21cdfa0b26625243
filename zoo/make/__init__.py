"""From data to a verified file with one command: choose a model, train, search within a budget, verify."""
