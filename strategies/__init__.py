"""Strategies: how training is spread over devices, by name. Knows nothing of the zoo.

Importing this package imports the standard library only; TensorFlow is imported by the functions that need it.
"""

from strategies.builders import REFUSED, STRATEGIES, StrategyError, build, describe, replicas_without_looking

__all__ = ["REFUSED", "STRATEGIES", "StrategyError", "build", "describe", "replicas_without_looking"]
