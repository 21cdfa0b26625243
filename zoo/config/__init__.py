"""What decides a training: `TrainConfig`, the registry of models, default recipes and the catalogue of data sets."""
