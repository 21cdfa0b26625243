"""Keras on JAX over the devices of this machine, in the form of `tf.distribute.Strategy` that training knows."""

import contextlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from strategies.errors import StrategyError

STRATEGIES = {
    "data_parallel": "Keras on JAX: a replica on each device, gradients summed over all of them",
    "model_parallel": "Keras on JAX: kernels split over devices by their last axis, for models larger than one",
}
BATCH, MODEL = "batch", "model"  # names of the mesh's axes


@dataclass(frozen=True)
class Sharding:
    """How one training is spread over JAX devices.

    Args:
        devices: of all.
        model_devices: that hold one copy of the model together; 1 is data parallelism.
    """

    devices: tuple[str, ...]
    model_devices: int = 1
    cluster_resolver = None  # one process

    @property
    def num_replicas_in_sync(self) -> int:
        return len(self.devices) // self.model_devices

    def scope(self) -> contextlib.AbstractContextManager:
        """Return what models are made in: the distribution is Keras' for as long as `arranged` lasts."""
        return contextlib.nullcontext()


def check_installed(name: str) -> None:
    """Raise StrategyError where JAX is not installed, or Keras runs on another engine already."""
    if importlib.util.find_spec("jax") is None:
        raise StrategyError(
            f"strategy {name!r}: expected JAX, which is not installed; pip install 'keras-compression-zoo[jax]'"
        )
    if "keras" in sys.modules and (engine := sys.modules["keras"].backend.backend()) != "jax":
        raise StrategyError(
            f"strategy {name!r}: expected Keras on JAX, it runs on {engine} in this process; set KERAS_BACKEND=jax"
            " before Keras is imported"
        )


def split_cpu(count: int) -> None:
    """Let JAX, which has not been imported yet, see the CPU as `count` devices."""
    flag = "--xla_force_host_platform_device_count="
    others = [word for word in os.environ.get("XLA_FLAGS", "").split() if not word.startswith(flag)]
    os.environ["XLA_FLAGS"] = " ".join([*others, f"{flag}{count}"])


def build(name: str, virtual_devices: int, model_devices: int) -> Sharding:
    """Return how a training is spread.

    Args:
        name: none, one_device, data_parallel, model_parallel or tpu.
        virtual_devices: that `split_cpu` was called with, 0 if it was not.
        model_devices: that hold one copy of the model together, of model_parallel; 0, all.

    Raises:
        StrategyError: devices that are not there.
    """
    import keras

    try:
        devices = tuple(keras.distribution.list_devices("tpu" if name == "tpu" else None))
    except RuntimeError as error:
        raise StrategyError(f"strategy {name!r}: JAX finds no such devices: {error}") from None
    if virtual_devices and len(devices) != virtual_devices:
        raise StrategyError(
            f"--virtual-devices {virtual_devices}: JAX already runs with {len(devices)} device(s) in this process;"
            " ask for them before anything else uses JAX"
        )
    if name in ("none", "one_device"):
        return Sharding(devices[:1])
    if name in ("data_parallel", "tpu"):
        return Sharding(devices)
    sharing = model_devices or len(devices)
    if sharing > len(devices) or len(devices) % sharing:
        raise StrategyError(
            f"--model-devices {sharing}: expected a number that divides the {len(devices)} devices of this machine"
        )
    return Sharding(devices, sharing)


@contextlib.contextmanager
def arranged(sharding: Sharding, build_model: Callable[[], Any]) -> Iterator[None]:
    """Make this distribution Keras' own, so that models made, trained and asked inside are spread by it.

    Args:
        sharding: of `build`.
        build_model: returns a built model; called where the sizes of its kernels decide how they are split.

    Raises:
        StrategyError: a model without a kernel that the devices divide.
    """
    import keras

    before = keras.distribution.distribution()
    shape = (sharding.num_replicas_in_sync, sharding.model_devices)
    if len(sharding.devices) == 1:
        chosen = None
    elif sharding.model_devices == 1:
        chosen = keras.distribution.DataParallel(devices=list(sharding.devices))
    else:
        mesh = keras.distribution.DeviceMesh(shape, (BATCH, MODEL), list(sharding.devices))
        layouts = keras.distribution.LayoutMap(mesh)
        for pattern, axes in layout(_shapes(build_model()), sharding.model_devices).items():
            layouts[pattern] = axes
        chosen = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name=BATCH)
    keras.distribution.set_distribution(chosen)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in model.trainable_variables}


def layout(shapes: Mapping[str, tuple[int, ...]], devices: int) -> dict[str, tuple[str | None, ...]]:
    """Return by pattern of a path which axis of a variable is split: the last of every kernel that devices divide.

    The last axis of a Dense, convolution, recurrent or attention kernel, and of an embedding, counts its outputs: each
    device computes its part of them, and XLA puts in what must be exchanged. All else is copied to every device.

    Args:
        shapes: of the trainable variables, by path.
        devices: that hold one copy of the model together.

    Raises:
        StrategyError: there is no such kernel.
    """
    found = {}
    for path, shape in shapes.items():
        if len(shape) > 1 and shape[-1] % devices == 0:
            # Keras numbers models by class as they are made, so the first part of a path is another each time.
            inside = re.escape(path.partition("/")[2] or path)
            found[f"(.*/)?{inside}"] = (*[None] * (len(shape) - 1), MODEL)
    if not found:
        kernels = ", ".join(f"{path} {shape}" for path, shape in shapes.items() if len(shape) > 1)
        raise StrategyError(
            f"strategy 'model_parallel': expected a kernel whose last axis {devices} devices divide, found none among"
            f" {kernels}; choose other sizes, or fewer --model-devices"
        )
    return found
