"""The structure of any built model: its layers, copies of it, folding and rewriting."""
