"""How the model of each task becomes a file and how the file is scored, one module a task."""
