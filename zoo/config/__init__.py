"""The configuration of a training: `TrainConfig`, models, default settings and the catalogue of data sets."""
