"""Inspect and change the structure of any built model: layers, copies, folding and rewriting."""
