"""The options of a training in groups, one frozen dataclass in a file each. Standard library only.

Every option is declared once, here: name, type, default and help. The classes are the headings of `--help`; TrainConfig
inherits from all of them, so `config.learning_rate` is the value of `config.optimisation.learning_rate`.

To add an option:

1. Declare a field with `option` in the class of its group, in the order in which `--help` should list it. A default of
   None means that the value comes from `zoo.config.defaults`. Limits of a number go into `within`.
2. If it applies to some tasks alone, name it in `options` of their rows in `zoo.config.task_facts`. If it contradicts
   other options, raise UsageError in `zoo.config.train_config.TrainConfig.__post_init__`.
3. If the numbers of a run do not depend on it, add it to `CHANGEABLE` or `NOT_COMPARED` there.
"""

from zoo.config.groups.capabilities import Capabilities
from zoo.config.groups.columns import ColumnOptions
from zoo.config.groups.data import DataOptions
from zoo.config.groups.model import ModelOptions
from zoo.config.groups.optimisation import Optimisation
from zoo.config.groups.output import OutputOptions
from zoo.config.groups.sensors import SensorOptions
from zoo.config.groups.sound import SoundOptions
from zoo.config.groups.strategy import StrategyOptions

__all__ = [
    "Capabilities",
    "ColumnOptions",
    "DataOptions",
    "ModelOptions",
    "Optimisation",
    "OutputOptions",
    "SensorOptions",
    "SoundOptions",
    "StrategyOptions",
]
