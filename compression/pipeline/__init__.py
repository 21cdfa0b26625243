"""Carry out a recipe: its training stages, the export and the receipt."""
