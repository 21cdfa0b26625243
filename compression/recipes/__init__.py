"""The language of recipes: words, their order, and what is refused before work starts. Standard library only."""
