"""Training passes of a recipe for any built model: pruning, clustering, QAT, channel pruning and distillation."""
