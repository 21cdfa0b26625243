"""Recipes: their words and order, options besides them, and limits of each task. Standard library only."""
