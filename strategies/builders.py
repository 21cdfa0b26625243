"""From a strategy's name to a `tf.distribute.Strategy`, or to the sentence that says why not."""

import difflib
import functools
from dataclasses import dataclass

STRATEGIES = {
    "none": "no distribution: TensorFlow's default placement",
    "one_device": "everything on the first GPU, or the CPU where there is none",
    "mirrored": "one replica on each GPU of this machine, gradients summed over all of them",
}

# Named in the field, so asked for; each with the reason that a user is given.
REFUSED = {
    "multi_worker": "training over several machines is not part of this version",
    "tpu": "training on a TPU is not part of this version",
    "parameter_server": "ParameterServerStrategy is not supported by fit of Keras 3",
}


class StrategyError(ValueError):
    """A strategy that does not exist, or that cannot run here; the message says why."""


@dataclass(frozen=True)
class Availability:
    """Whether a strategy can run on this machine: on which devices, or why not."""

    name: str
    summary: str
    available: bool
    devices: tuple[str, ...]
    reason: str


def check_name(name: str) -> None:
    """Raise StrategyError unless `name` is a strategy of this version."""
    if name in REFUSED:
        raise StrategyError(f"strategy {name!r} cannot be used: {REFUSED[name]}")
    if name not in STRATEGIES:
        match = difflib.get_close_matches(name, [*STRATEGIES, *REFUSED], n=1, cutoff=0.5)
        hint = f"; did you mean {match[0]!r}?" if match else ""
        raise StrategyError(f"unknown strategy {name!r}: expected one of {', '.join(STRATEGIES)}{hint}")


def replicas_without_looking(name: str, virtual_devices: int) -> int:
    """Return the number of replicas that is certain before any device is looked at (at least 1).

    Raises:
        StrategyError: the name is unknown or cannot be used.
    """
    check_name(name)
    return max(virtual_devices, 1) if name == "mirrored" else 1


def build(name: str, virtual_devices: int = 0):  # noqa: ANN201  (tf.distribute.Strategy; TensorFlow is not imported yet)
    """Return the strategy of this name.

    Args:
        name: a key of STRATEGIES. "none" gives TensorFlow's default strategy, so no caller branches.
        virtual_devices: split the CPU into this many logical devices and use them instead of GPUs, so that
            several replicas run on any machine. 0 leaves the devices as they are.

    Raises:
        StrategyError: unknown name, or devices that cannot be had.
    """
    check_name(name)
    import tensorflow as tf

    if virtual_devices:
        _split_cpu(virtual_devices)
    devices = _devices(virtual_devices)
    if name == "mirrored":
        return _mirrored(tuple(devices))
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.get_strategy()


@functools.cache
def _mirrored(devices: tuple[str, ...]):  # noqa: ANN202
    """Return the one strategy of these devices: several in a process starve each other of threads."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def describe() -> list[Availability]:
    """Return what can run on this machine, and why the rest cannot."""
    devices = tuple(_devices(0))
    used = {"none": devices[:1], "one_device": devices[:1], "mirrored": devices}
    can = [Availability(name, summary, True, used[name], "") for name, summary in STRATEGIES.items()]
    return can + [Availability(name, "", False, (), reason) for name, reason in REFUSED.items()]


def _devices(virtual_devices: int) -> list[str]:
    import tensorflow as tf

    gpus = [] if virtual_devices else tf.config.list_logical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    return [device.name for device in (gpus or cpus)]


def _split_cpu(count: int) -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:  # TensorFlow has started; its devices can no longer change
        have = len(tf.config.list_logical_devices("CPU"))
        if have != count:
            raise StrategyError(
                f"--virtual-devices {count}: TensorFlow already runs with {have} CPU device(s) in this process;"
                " ask for them before anything else uses TensorFlow"
            ) from None
