"""Models that train anywhere: registry, data, training and the commands around a run folder."""

__version__ = "0.1.0"
