"""Continue to train a classifier on a stream of examples."""
