"""Scripts to copy to a device: each needs only ai-edge-litert and numpy, and imports nothing from this project."""
