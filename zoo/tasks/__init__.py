"""What a model is trained for: its loss, its metrics and what a report shows of it."""
