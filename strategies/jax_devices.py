"""Keras on JAX over the devices of this machine, behind the part of the `tf.distribute.Strategy` interface in use."""

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
    "data_parallel": "Keras on JAX: one replica on each device, gradients summed over all replicas",
    "model_parallel": "Keras on JAX: kernels split over devices along their last axis, for models larger than a device",
}
BATCH, MODEL = "batch", "model"  # names of the mesh's axes


@dataclass(frozen=True)
class Sharding:
    """Distribution of a training over JAX devices.

    Args:
        devices: Names of all devices.
        model_devices: Number of devices that share one copy of the model; 1 is data parallelism.
    """

    devices: tuple[str, ...]
    model_devices: int = 1
    cluster_resolver = None  # single process

    @property
    def num_replicas_in_sync(self) -> int:
        return len(self.devices) // self.model_devices

    def scope(self) -> contextlib.AbstractContextManager:
        """Return an empty context, because `arranged` sets the distribution in Keras."""
        return contextlib.nullcontext()


def check_installed(name: str) -> None:
    """Raise a `StrategyError` if JAX is not installed, or Keras already runs on another backend."""
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
    """Make JAX divide the CPU into `count` devices; call this before JAX is imported."""
    flag = "--xla_force_host_platform_device_count="
    others = [word for word in os.environ.get("XLA_FLAGS", "").split() if not word.startswith(flag)]
    os.environ["XLA_FLAGS"] = " ".join([*others, f"{flag}{count}"])


def build(name: str, virtual_devices: int, model_devices: int) -> Sharding:
    """Return the distribution of a strategy.

    Args:
        name: Name of the strategy: none, one_device, data_parallel, model_parallel or tpu.
        virtual_devices: Number of devices that `split_cpu` was called with, 0 if it was not called.
        model_devices: Number of devices that share one copy of the model under model_parallel, 0 for all.

    Raises:
        StrategyError: If the devices are not available.
    """
    import keras

    try:
        devices = tuple(keras.distribution.list_devices("tpu" if name == "tpu" else None))
    except RuntimeError as error:
        raise StrategyError(f"strategy {name!r}: JAX finds no devices: {error}") from None
    if virtual_devices and len(devices) != virtual_devices:
        raise StrategyError(
            f"--virtual-devices {virtual_devices}: JAX already runs with {len(devices)} device(s) in this process;"
            " set them before JAX is used otherwise"
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
    """Set the distribution in Keras, so that it applies to models built, trained and run inside.

    Args:
        sharding: Distribution returned by `build`.
        build_model: Function that returns a built model. It is called under model parallelism, to choose the kernels to
            split by their shapes.

    Raises:
        StrategyError: If no kernel of the model can be split over the devices.
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
    """Return the split axis of each kernel, by a pattern of its path.

    The last axis of a Dense, convolution, recurrent or attention kernel, and of an embedding, is that of its outputs.
    Each device computes a part of them, and XLA inserts the necessary communication. Kernels whose last axis is a
    multiple of the devices are split; all other variables are copied to every device.

    Args:
        shapes: Shapes of the trainable variables, by path.
        devices: Number of devices that share one copy of the model.

    Raises:
        StrategyError: If no kernel can be split.
    """
    found = {}
    for path, shape in shapes.items():
        if len(shape) > 1 and shape[-1] % devices == 0:
            # The first part of a path contains a counter of the models built so far, so the pattern leaves it open.
            inside = re.escape(path.partition("/")[2] or path)
            found[f"(.*/)?{inside}"] = (*[None] * (len(shape) - 1), MODEL)
    if not found:
        kernels = ", ".join(f"{path} {shape}" for path, shape in shapes.items() if len(shape) > 1)
        raise StrategyError(
            f"strategy 'model_parallel': expected a kernel whose last axis is a multiple of {devices} devices, found"
            f" none among {kernels}; choose other sizes, or fewer --model-devices"
        )
    return found
