"""The section of the report that belongs to a task, one module a task."""
