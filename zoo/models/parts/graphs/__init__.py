"""Parts of models of knowledge graphs."""
