"""Files to copy to a device: each needs ai-edge-litert and numpy, and nothing else of this project."""
