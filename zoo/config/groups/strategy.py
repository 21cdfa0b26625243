"""How training is distributed over devices and processes."""

from dataclasses import dataclass
from typing import Any, Literal

from zoo.config.options import flag, option, under
from zoo.console.errors import UsageError

# Options that some strategies alone use.
_USED_BY = {
    "model_devices": ("model_parallel",),
    "shard": ("multi_worker",),
    "worker_timeout": ("multi_worker",),
}


@dataclass(frozen=True, kw_only=True)
@under("strategy")
class StrategyOptions:
    """How training is distributed over devices and processes."""

    strategy: str = option("distribution strategy; `python -m strategies` lists those that work here", "none")
    virtual_devices: int = option(
        "number of virtual devices into which the CPU is split; 0: no split", 0, within=(0, 1024)
    )
    model_devices: int = option(
        "number of devices that share one copy of the model under model_parallel; 0: all", 0, within=(0, 100_000)
    )
    shard: Literal["data", "files"] = option(
        "what a multi_worker process reads in an epoch: its part of each batch, from decoded examples in its memory if"
        " they fit (data), or always from the files (files)",
        "data",
    )
    worker_timeout: float = option(
        "seconds that multi_worker processes wait for each other at the start", 300.0, within=(0.1, 1e9)
    )
    steps_per_execution: int | None = option(
        "largest number of steps in one execution on the device; the results stay the same (default: 16; 1 with"
        " JAX on a CPU or GPU)",
        within=(1, 100_000),
    )


def check_used(options: Any) -> None:
    """Raise UsageError for an option that the strategy does not use.

    Args:
        options: `StrategyOptions`, or the options of a command that has some of them.
    """
    for name, used_by in _USED_BY.items():
        usual = getattr(StrategyOptions, name)
        if (value := getattr(options, name, usual)) != usual and options.strategy not in used_by:
            raise UsageError(
                f"{flag(name)} {value}: expected --strategy {' or '.join(used_by)}, received {options.strategy}"
            )
