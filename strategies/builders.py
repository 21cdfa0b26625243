"""From a strategy's name to a `tf.distribute.Strategy`, or its like on JAX, or to the sentence that says why not."""

import contextlib
import difflib
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from strategies import backend, cluster, jax_devices, rendezvous, tpu
from strategies.errors import StrategyError

STRATEGIES = {
    "none": "no distribution: TensorFlow's default placement",
    "one_device": "everything on the first GPU, or the CPU where there is none",
    "mirrored": "one replica on each GPU of this machine, gradients summed over all of them",
    "multi_worker": "one process a worker, on several machines or this one, gradients summed over all of them",
    **jax_devices.STRATEGIES,
    "tpu": "a replica on each chip of this host's TPU: TPUStrategy where TensorFlow is built for it, else Keras on JAX;"
    " never run on one by its authors",
}

ON_JAX = (*jax_devices.STRATEGIES, "tpu")
# Where Keras 3.15 fails with several steps in one execution.
STEP_BY_STEP = ("mirrored", "multi_worker")
# Named in the field, so asked for; each with the reason that a user is given.
REFUSED = {
    "parameter_server": "ParameterServerStrategy is not supported by fit of Keras 3",
    "central_storage": "CentralStorageStrategy is experimental in TensorFlow, and its agreement with one device is not"
    " tested here; mirrored serves the same machines, with a copy of the variables on each device",
}


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
    if name == "multi_worker":
        if virtual_devices:
            raise StrategyError(
                f"--virtual-devices {virtual_devices}: expected 0 with multi_worker, which has one replica a worker"
                " on CPUs; start more workers"
            )
        return len(cluster.from_environment().workers)
    if name == "tpu":
        tpu.check_present()
    if engine(name) == "jax":
        jax_devices.check_installed(name)
    if name == "data_parallel":
        return max(virtual_devices, 1)
    return max(virtual_devices, 1) if name == "mirrored" else 1


def engine(name: str) -> str:
    """Return what Keras runs on under a strategy: tensorflow, or jax."""
    if name == "tpu" and tpu.tensorflow_is_built_for_it():
        return "tensorflow"
    if name in ON_JAX:
        return "jax"
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return backend.default_engine()


def is_chief(name: str) -> bool:
    """Return whether this process writes what all processes of the training make together.

    Raises:
        StrategyError: multi_worker, in no cluster.
    """
    return place(name)[0] == 0


def place(name: str) -> tuple[int, int]:
    """Return which worker this process is, from 0, the chief, and of how many.

    Raises:
        StrategyError: multi_worker, in no cluster.
    """
    if name != "multi_worker":
        return 0, 1
    members = cluster.from_environment()
    return members.index, len(members.workers)


def build(
    name: str,
    virtual_devices: int = 0,
    *,
    model_devices: int = 0,
    facts: Mapping[str, Any] | None = None,
    seconds: float = rendezvous.SECONDS,
) -> Any:  # a tf.distribute.Strategy; TensorFlow is not imported yet
    """Return the strategy of this name; on JAX, a `jax_devices.Sharding`.

    Args:
        name: a key of STRATEGIES. "none" gives TensorFlow's default strategy, so no caller branches.
        virtual_devices: split the CPU into this many logical devices and use them instead of GPUs, so that
            several replicas run on any machine. 0 leaves the devices as they are.
        model_devices: of model_parallel, how many hold one copy of the model together; 0, all.
        facts: what all workers of multi_worker must agree on, by name, JSON-able.
        seconds: that workers of multi_worker wait for each other.

    Raises:
        StrategyError: unknown name, devices that cannot be had, or workers that do not come or disagree.
    """
    replicas_without_looking(name, virtual_devices)
    if engine(name) == "jax":
        if name not in ("none", "one_device", *ON_JAX):
            raise StrategyError(f"strategy {name!r}: expected Keras on TensorFlow, it runs on jax; use data_parallel")
        return jax_devices.build(name, virtual_devices, model_devices)
    import tensorflow as tf

    if name == "multi_worker":
        return _multi_worker(cluster.from_environment(), dict(facts or {}), seconds)
    if name == "tpu":
        return _tpu()
    if virtual_devices:
        _split_cpu(virtual_devices)
    devices = _devices(virtual_devices)
    if name == "mirrored":
        return _mirrored(tuple(devices))
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.get_strategy()


def arranged(strategy: Any, build_model: Callable[[], Any]) -> contextlib.AbstractContextManager:
    """Return what a model is made, trained and asked in, besides the strategy's scope; see `jax_devices.arranged`."""
    if isinstance(strategy, jax_devices.Sharding):
        return jax_devices.arranged(strategy, build_model)
    return contextlib.nullcontext()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Return the one strategy of these devices: several in a process starve each other of threads."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _tpu() -> Any:
    """Return the strategy of this host's TPU, which TensorFlow sets up once in a process."""
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, tf.errors.OpError) as error:
        said = " ".join(str(error).split())[:200]
        raise StrategyError(
            f"strategy 'tpu': this host shows {', '.join(tpu.found())}, TensorFlow none: {said}"
        ) from None


_joined: dict[cluster.Cluster, Any] = {}  # TensorFlow joins a cluster once in a process


def _multi_worker(members: cluster.Cluster, facts: dict[str, Any], seconds: float) -> Any:
    if members not in _joined:
        import tensorflow as tf

        rendezvous.meet(members, facts, seconds)
        spec = tf.train.ClusterSpec({"worker": list(members.workers)})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec, task_type="worker", task_id=members.index, rpc_layer="grpc"
        )
        try:
            _joined[members] = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        except RuntimeError as error:
            raise StrategyError(
                f"strategy 'multi_worker': {error}; join the cluster before anything else uses TensorFlow"
            ) from None
    return _joined[members]


def describe() -> list[Availability]:
    """Return what can run on this machine, and why the rest cannot."""
    rows = _on_tensorflow() if backend.installed("tensorflow") else _without_tensorflow()
    signs = tuple(tpu.found())
    reason = "" if signs else f"no TPU: looked for {', '.join((*tpu.DEVICES, *tpu.VARIABLES))}"
    rows.append(Availability("tpu", STRATEGIES["tpu"], bool(signs), signs, reason))
    for name, summary in jax_devices.STRATEGIES.items():
        if not backend.installed("jax"):
            rows.append(
                Availability(name, "", False, (), "JAX is not installed: pip install 'keras-compression-zoo[jax]'")
            )
        else:
            rows.append(Availability(name, summary, True, _JAX_DEVICES, ""))
    return rows + [Availability(name, "", False, (), reason) for name, reason in REFUSED.items()]


_JAX_DEVICES = ("the devices that JAX sees",)


def _on_tensorflow() -> list[Availability]:
    devices = tuple(_devices(0))
    used = {"none": devices[:1], "one_device": devices[:1], "mirrored": devices}
    rows = [Availability(name, STRATEGIES[name], True, found, "") for name, found in used.items()]
    try:
        workers = cluster.from_environment().workers
        rows.append(Availability("multi_worker", STRATEGIES["multi_worker"], True, workers, ""))
    except StrategyError as error:
        rows.append(Availability("multi_worker", "", False, (), str(error).partition(": ")[2]))
    return rows


def _without_tensorflow() -> list[Availability]:
    missing = "TensorFlow is not installed; data_parallel is its like on JAX"
    rows = [Availability(name, STRATEGIES[name], True, _JAX_DEVICES, "") for name in ("none", "one_device")]
    return rows + [Availability(name, "", False, (), missing) for name in ("mirrored", "multi_worker")]


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
