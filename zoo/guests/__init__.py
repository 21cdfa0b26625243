"""Models of somebody's own: opened with their data, measured, and asked for answers."""
