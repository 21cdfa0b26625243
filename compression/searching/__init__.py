"""Search for the recipe and layer widths that fit a budget."""
