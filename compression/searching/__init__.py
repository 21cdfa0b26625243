"""Search for the recipe and widths that fit a budget."""
