"""Training passes of a recipe on the variables of any built model: pruning, clustering, QAT, channels, distillation."""
