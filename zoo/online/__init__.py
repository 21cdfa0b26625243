"""Online learning: training of a classifier continued on a stream of examples."""
