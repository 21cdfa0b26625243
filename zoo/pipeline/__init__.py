"""`python -m zoo.pipeline`: several commands, one after the other, from one file."""
