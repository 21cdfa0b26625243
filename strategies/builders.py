"""Builders of strategies by name: a `tf.distribute.Strategy`, its counterpart on JAX, or an error with the reason."""

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
    "one_device": "first GPU, or the CPU if there is none",
    "mirrored": "one replica on each GPU of this machine, gradients summed over all replicas",
    "multi_worker": "one process per worker, on one or several machines, gradients summed over all workers",
    **jax_devices.STRATEGIES,
    "tpu": "one replica on each TPU chip of this host: TPUStrategy if TensorFlow is built for TPUs, otherwise Keras on"
    " JAX; not tested on a TPU by its authors",
}

ON_JAX = (*jax_devices.STRATEGIES, "tpu")
# Known strategies that cannot be used, with the reason shown to the user.
REFUSED = {
    "parameter_server": "ParameterServerStrategy is not supported by fit of Keras 3",
    "central_storage": "CentralStorageStrategy is experimental in TensorFlow and its results are not tested here;"
    " mirrored serves the same machines, with a copy of the variables on each device",
}


@dataclass(frozen=True)
class Availability:
    """Availability of a strategy on this machine.

    Args:
        name: Name of the strategy.
        summary: One-line description.
        available: Whether the strategy can run.
        devices: Devices it uses.
        reason: Reason why it cannot run, empty if it can.
    """

    name: str
    summary: str
    available: bool
    devices: tuple[str, ...]
    reason: str


def check_name(name: str) -> None:
    """Raise a `StrategyError` unless `name` is a usable strategy."""
    if name in REFUSED:
        raise StrategyError(f"strategy {name!r} cannot be used: {REFUSED[name]}")
    if name not in STRATEGIES:
        match = difflib.get_close_matches(name, [*STRATEGIES, *REFUSED], n=1, cutoff=0.5)
        hint = f"; did you mean {match[0]!r}?" if match else ""
        raise StrategyError(f"unknown strategy {name!r}: expected one of {', '.join(STRATEGIES)}{hint}")


def replicas_without_looking(name: str, virtual_devices: int) -> int:
    """Return the number of replicas known without inspecting devices, at least 1.

    Args:
        name: Name of the strategy.
        virtual_devices: Number of logical devices the CPU is divided into, 0 for none.

    Raises:
        StrategyError: If the name is unknown, or the strategy cannot be used.
    """
    check_name(name)
    if name == "multi_worker":
        if virtual_devices:
            raise StrategyError(
                f"--virtual-devices {virtual_devices}: expected 0 with multi_worker, which has one replica per worker"
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
    """Return the Keras backend of a strategy: "tensorflow" or "jax"."""
    if name == "tpu" and tpu.tensorflow_is_built_for_it():
        return "tensorflow"
    if name in ON_JAX:
        return "jax"
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return backend.default_engine()


def is_chief(name: str) -> bool:
    """Return whether this process is the chief, which writes the results of the training.

    Raises:
        StrategyError: If the strategy is multi_worker and the environment describes no cluster.
    """
    return place(name)[0] == 0


def place(name: str) -> tuple[int, int]:
    """Return the index of this worker, 0 for the chief, and the number of workers.

    Raises:
        StrategyError: If the strategy is multi_worker and the environment describes no cluster.
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
        name: Key of STRATEGIES. "none" returns TensorFlow's default strategy, so that callers need no special case.
        virtual_devices: Number of logical devices to divide the CPU into and use instead of GPUs, so that several
            replicas run on any machine. 0 leaves the devices unchanged.
        model_devices: Number of devices that share one copy of the model under model_parallel, 0 for all.
        facts: JSON-serialisable settings that all workers of multi_worker must agree on, by name.
        seconds: Time limit in seconds for workers of multi_worker to find each other.

    Raises:
        StrategyError: If the name is unknown, devices are not available, or workers are missing or disagree.
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
    """Return a context to build, train and run a model in, in addition to the strategy's scope.

    Args:
        strategy: Strategy returned by `build`.
        build_model: Function that returns a built model, see `jax_devices.arranged`.
    """
    if isinstance(strategy, jax_devices.Sharding):
        return jax_devices.arranged(strategy, build_model)
    return contextlib.nullcontext()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Return the only strategy of these devices, because several in one process compete for threads."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _tpu() -> Any:
    """Return the strategy of this host's TPU, which TensorFlow can initialise once per process."""
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, tf.errors.OpError) as error:
        said = " ".join(str(error).split())[:200]
        raise StrategyError(
            f"strategy 'tpu': found {', '.join(tpu.found())} on this host, but TensorFlow finds no TPU: {said}"
        ) from None


_joined: dict[cluster.Cluster, Any] = {}  # TensorFlow can join a cluster once per process


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
                f"strategy 'multi_worker': {error}; join the cluster before TensorFlow is used otherwise"
            ) from None
    return _joined[members]


def describe() -> list[Availability]:
    """Return the availability of every strategy on this machine."""
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


_JAX_DEVICES = ("the devices visible to JAX",)


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
    missing = "TensorFlow is not installed; data_parallel is the counterpart on JAX"
    rows = [Availability(name, STRATEGIES[name], True, _JAX_DEVICES, "") for name in ("none", "one_device")]
    return rows + [Availability(name, "", False, (), missing) for name in ("mirrored", "multi_worker")]


def _devices(virtual_devices: int) -> list[str]:
    import tensorflow as tf

    gpus = [] if virtual_devices else tf.config.list_logical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    return [device.name for device in (gpus or cpus)]


def devices_of(strategy: Any) -> list[str]:
    """Return the short names of the devices of this process that a strategy computes on, such as GPU:0.

    Args:
        strategy: Strategy returned by `build`.
    """
    if isinstance(strategy, jax_devices.Sharding):
        return [name.upper() for name in strategy.devices]
    import tensorflow as tf

    if strategy is tf.distribute.get_strategy() and not tf.distribute.has_strategy():
        names = _devices(0)[:1]
    else:
        names = strategy.extended.worker_devices
    return [name.rpartition("device:")[2] for name in names]


def _split_cpu(count: int) -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:  # TensorFlow is initialised, its devices are fixed
        have = len(tf.config.list_logical_devices("CPU"))
        if have != count:
            raise StrategyError(
                f"--virtual-devices {count}: TensorFlow already runs with {have} CPU device(s) in this process;"
                " set them before TensorFlow is used otherwise"
            ) from None
