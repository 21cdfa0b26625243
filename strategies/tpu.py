"""TPU support that needs no TPU: detection, published figures of the chips, and compilation of a step for a slice.

The TPU compiler (the `libtpu` wheel) compiles a step for a named slice on any CPU. This proves that the step compiles
and how much memory it needs, but neither its numerical results nor its speed.
"""

import importlib.metadata
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strategies.errors import StrategyError

# Device files and environment variables that indicate a TPU.
DEVICES = ("/dev/accel*", "/dev/vfio/[0-9]*")
VARIABLES = ("TPU_NAME", "COLAB_TPU_ADDR", "TPU_WORKER_ID", "TPU_ACCELERATOR_TYPE")


@dataclass(frozen=True)
class Chip:
    """Published figures of one chip.

    Args:
        memory: HBM capacity in bytes.
        flops: Peak bfloat16 operations per second.
        memory_bandwidth: HBM bandwidth in bytes per second.
        link_bandwidth: Inter-chip bandwidth in bytes per second, both directions together.
        pod_network: Bandwidth between pods in bytes per second.
        pod: Number of chips in a pod.
    """

    memory: float
    flops: float
    memory_bandwidth: float
    link_bandwidth: float
    pod_network: float
    pod: int = 256


# cloud.google.com/tpu/docs/v5e and /v6e, read in November 2026.
CHIPS = {
    "v5e": Chip(16e9, 197e12, 819e9, 400e9, 6.4e12 / 8),
    "v6e": Chip(32e9, 918e12, 1640e9, 800e9, 25.6e12 / 8),
}
SLICES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8,
          "s64": 8, "u64": 8}  # fmt: skip
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Compiled:
    """Requirements of a compiled step on each chip of a slice.

    Args:
        chips: Number of chips of the slice.
        memory: Bytes of arguments, results, temporaries and code.
        flops: Operations of one step. The body of a loop, such as that of a recurrent layer, is counted once.
        memory_traffic: Bytes read and written in one step, as counted by the compiler.
        collectives: Number and bytes of the collectives in one step, by kind.
        seconds: Compilation time in seconds.
    """

    chips: int
    memory: int
    flops: float
    memory_traffic: float
    collectives: dict[str, tuple[int, int]]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def found() -> list[str]:
    """Return the signs of a TPU on this host."""
    devices = [str(path) for pattern in DEVICES for path in sorted(Path("/").glob(pattern.removeprefix("/")))]
    return devices + [name for name in VARIABLES if os.environ.get(name)]


def tensorflow_is_built_for_it() -> bool:
    """Return whether the installed TensorFlow supports TPUs, without importing it."""
    try:
        importlib.metadata.version("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_present() -> None:
    """Raise a `StrategyError` if this host has no TPU."""
    if not found():
        raise StrategyError(
            f"strategy 'tpu': expected a TPU, found none; looked for {', '.join(DEVICES)} and"
            f" {', '.join(VARIABLES)} in the environment; `python -m strategies.tpu_check MODEL` compiles for a TPU"
            " without one"
        )


def parse_topology(text: str) -> tuple[str, int]:
    """Return the generation and number of chips of a slice such as v5e:2x4.

    Raises:
        StrategyError: If the text does not name a slice.
    """
    generation, _, shape = text.partition(":")
    if generation not in CHIPS or shape not in SLICES:
        raise StrategyError(
            f"--topology {text}: expected {' or '.join(CHIPS)}, a colon, and one of {', '.join(SLICES)}, such as"
            " v5e:2x4"
        )
    return generation, math.prod(map(int, shape.split("x")))


def use_compiler() -> None:
    """Set up this process to compile for TPUs it does not have; call this before JAX is imported.

    Raises:
        StrategyError: If JAX or libtpu is not installed.
    """
    if missing := [name for name in ("jax", "libtpu") if importlib.util.find_spec(name) is None]:
        raise StrategyError(
            f"tpu_check: expected {' and '.join(missing)}, not installed; about 700 MB, with"
            " pip install 'keras-compression-zoo[tpu-check]'"
        )
    os.environ |= {  # JAX runs on the CPU, and libtpu does not query a metadata server
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    }


def state_of(model: Any) -> tuple[list, ...]:
    """Return the shapes and types of the state of a Keras model's train step on JAX.

    Args:
        model: Built and compiled model whose optimizer and metrics are built, too.
    """
    import jax

    groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    return tuple(
        [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in group] for group in (*groups, model.metrics_variables)
    )


def compile_step(model: Any, batch: Sequence[Any], topology: str) -> Compiled:
    """Compile a model's train step for a TPU slice, data-parallel over its chips.

    Args:
        model: Model, as `state_of` takes it.
        batch: Global batch (x, y) or (x, y, weights), as `jax.ShapeDtypeStruct`.
        topology: Name of the slice, such as v5e:2x4.

    Raises:
        StrategyError: If there is no such slice, or the batch size is not a multiple of its chips.
    """
    import time

    _, chips = parse_topology(topology)
    import jax

    size = jax.tree.leaves(batch)[0].shape[0]
    if size % chips:
        raise StrategyError(f"--batch-size {size}: expected a multiple of the {chips} chips of {topology}")
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    described = topologies.get_topology_desc(topology_name=topology, platform="tpu")
    mesh = Mesh(np.array(described.devices), ("batch",))

    def placed(tree: Any, *axes: str) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), tree)

    began = time.perf_counter()
    step = jax.jit(model.train_step, donate_argnums=0)
    compiled = step.lower(placed(state_of(model)), placed(tuple(batch), "batch")).compile()
    seconds = time.perf_counter() - began
    needs, costs = compiled.memory_analysis(), compiled.cost_analysis()
    memory = (
        needs.argument_size_in_bytes
        + needs.output_size_in_bytes
        - needs.alias_size_in_bytes
        + needs.temp_size_in_bytes
        + needs.generated_code_size_in_bytes
    )
    return Compiled(
        chips, memory, costs["flops"], costs["bytes accessed"], collectives(compiled.as_text()), round(seconds, 1)
    )


def collectives(program: str) -> dict[str, tuple[int, int]]:
    """Return the number of collectives in a compiled program (HLO text) and the bytes of their results, by kind."""
    totals: dict[str, tuple[int, int]] = {}
    for line in program.splitlines():
        match = re.search(rf"= (.*?) ({'|'.join(_COLLECTIVES)})(-start)?\(", line)
        if not match:
            continue
        shapes = re.findall(r"([a-z]+\d*)\[([\d,]*)\]", match[1])
        size = sum(_BYTES.get(kind, 0) * math.prod(map(int, filter(None, dims.split(",")))) for kind, dims in shapes)
        if match[3]:  # an asynchronous collective returns its operands and its results
            size //= 2
        count, total = totals.get(match[2], (0, 0))
        totals[match[2]] = (count + 1, total + size)
    return totals


def least_seconds(needs: Compiled, chip: Chip) -> dict[str, float]:
    """Return lower bounds in seconds for computation, memory traffic and all-reduces of a step.

    Computation and memory traffic overlap, so the larger bound counts. A ring all-reduce of b bytes over n chips sends
    2 b (n - 1) / n bytes from each chip and receives as many (Patarasuk & Yuan, 2009).

    Args:
        needs: Requirements of the compiled step.
        chip: Published figures of the chip.
    """
    _, moved = needs.collectives.get("all-reduce", (0, 0))
    return {
        "compute": needs.flops / chip.flops,
        "memory": needs.memory_traffic / chip.memory_bandwidth,
        "all_reduce": 2 * moved * (needs.chips - 1) / needs.chips / (chip.link_bandwidth / 2),
    }
