"""Distribution strategies by name, for one or several devices and machines. Independent of the zoo.

Importing this package imports the standard library only. Functions that need TensorFlow import it themselves.
"""

from strategies.builders import (
    ON_JAX,
    REFUSED,
    STRATEGIES,
    arranged,
    build,
    check_name,
    describe,
    devices_of,
    engine,
    is_chief,
    place,
    replicas_without_looking,
)
from strategies.errors import StrategyError

__all__ = [
    "ON_JAX",
    "REFUSED",
    "STRATEGIES",
    "StrategyError",
    "arranged",
    "build",
    "check_name",
    "describe",
    "devices_of",
    "engine",
    "is_chief",
    "place",
    "replicas_without_looking",
]
