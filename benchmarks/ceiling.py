"""Profile of a cnn's training step by operation, compared with the peak performance of the processor.

The ceilings are measured first with numpy on all cores: float32 products of 2048 x 2048 matrices, and copies of 512
MiB, the best of several runs each. TensorFlow's profiler then traces 20 steps of `zoo.train` at batch 128 with images
of MNIST's shape. Operations run one at a time on all cores, so that their times add up; under `fit`, independent
operations overlap. The floating-point operations of convolutions and products are computed from their shapes, two for
each multiply-add; other operations are not counted.
"""

import collections
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import steps

BATCH, STEPS = 128, 20
SIDE, FILTERS = 28, (32, 64, 64)  # image side and filters of the cnn; the first two convolutions are pooled
SIZE, COPIED = 2048, 1 << 29
TIMES = 8
BODY = "while/body/"  # prefix of the step's operations in the trace


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the ceilings and the operations of a step, each measured in a separate process.

    Args:
        data_dir: Unused, because the images are random.
    """
    found = {}
    for part in ("ceilings", "step"):
        words = [sys.executable, "-m", "benchmarks.ceiling", part]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        found[part] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ceilings() -> dict[str, float]:
    import numpy as np

    a = np.random.default_rng(0).standard_normal((SIZE, SIZE), np.float32)
    source, target = np.zeros(COPIED // 4, np.float32), np.ones(COPIED // 4, np.float32)

    def best(call: Any, amount: float) -> float:
        rates = []
        for _ in range(TIMES):
            began = time.perf_counter()
            call()
            rates.append(amount / (time.perf_counter() - began) / 1e9)
        return max(rates)

    return {
        "gflops": best(lambda: a @ a, 2 * SIZE**3),
        "gigabytes_a_second": best(lambda: np.copyto(target, source), 2 * COPIED),
    }


def convolution_flops(model: Any) -> dict[str, float]:
    """Return the floating-point operations of each convolution for one pass of a batch, by layer name.

    Args:
        model: Built cnn for images of SIDE x SIDE pixels.
    """
    import numpy as np

    from zoo.introspection.hooks import calls_of

    flops = {}
    for layer, _, output in calls_of(model, np.zeros((1, SIDE, SIDE, 1), "float32"), model.convolutions):
        _, height, width, _ = output.shape
        flops[layer.name] = 2.0 * BATCH * height * width * float(np.prod(layer.kernel.shape))
    return flops


def _step() -> dict[str, Any]:
    from strategies import backend

    backend.start()
    import numpy as np
    import tensorflow as tf

    from zoo.config.train_config import TrainConfig
    from zoo.data.dataset import DataSpec

    tf.config.threading.set_inter_op_parallelism_threads(1)
    spec = DataSpec("random", "image", (SIDE, SIDE, 1), tuple(map(str, range(10))))
    config = TrainConfig(model="cnn", batch_size=BATCH, settings={"filters": FILTERS, "dropout": 0.0}).resolved()
    model, run = steps.compiled(config, spec)
    rng = np.random.default_rng(0)
    batch = (rng.random((BATCH, SIDE, SIDE, 1), np.float32), rng.integers(0, 10, BATCH).astype("int32"))
    batches = steps.over_and_over(batch)
    run(batches, STEPS)
    began = time.perf_counter()
    float(run(batches, STEPS)["loss"])
    step_ms = (time.perf_counter() - began) / STEPS * 1e3
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3, python_tracer_level=0)
        with tf.profiler.experimental.Profile(folder, options):
            float(run(batches, STEPS)["loss"])
        times = _operations(Path(folder))
    flops = convolution_flops(model)
    rows: collections.Counter[str] = collections.Counter()
    for name, ms in times.items():
        rows[_called(name)] += ms / STEPS
    return {
        "step_ms": step_ms,
        "operations": [
            {"name": name, "ms": ms, "flops": flops.get(name.split(",")[0], 0.0)} for name, ms in rows.most_common()
        ],
    }


def _operations(folder: Path) -> dict[str, float]:
    """Return the milliseconds of each operation of the step in a trace."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space, times = xplane_pb2.XSpace(), collections.Counter()
    space.ParseFromString(next(folder.rglob("*.xplane.pb")).read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if name.startswith(BODY) and ":" in name:
                    times[name] += event.duration_ps / 1e9
    if not times:
        raise ValueError(
            f"expected operations named {BODY}... in the trace, found none: the structure of the step has changed"
        )
    return dict(times)


def _called(name: str) -> str:
    """Return the table row an operation belongs to: a pass of a layer, the optimizer, or the rest."""
    path, _, kind = name.rpartition(":")
    layer = next((f"conv_{i + 1}" for i in range(len(FILTERS)) if f"/conv_{i + 1}" in path), None)
    if "BackpropFilter" in kind:
        return f"{layer}, gradient of the kernel"
    if "BackpropInput" in kind:
        return f"{layer}, gradient of the input"
    if "Conv2D" in kind:
        return f"{layer or f'conv_{len(FILTERS)}'}, forward"  # the last convolution is fused with its activation
    if "MaxPool" in kind:
        return "pools, gradient" if "Grad" in kind else "pools, forward"
    if "/adam" in path:
        return "AdamW"
    return "all others"


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    ceiling = result["ceilings"]["gflops"]
    lines = [
        "| operation | ms | share of the step | GFLOP/s | share of the ceiling |",
        "| --- | --- | --- | --- | --- |",
    ]
    total = sum(row["ms"] for row in result["step"]["operations"])
    for row in result["step"]["operations"]:
        rate = row["flops"] / row["ms"] / 1e6
        speed = f"{rate:.0f} | {rate / ceiling:.0%}" if row["flops"] else " | "
        lines.append(f"| {row['name']} | {row['ms']:.2f} | {row['ms'] / total:.0%} | {speed} |")
    counted = sum(row["flops"] for row in result["step"]["operations"]) / 1e9
    ideal, step, copies = counted / ceiling * 1e3, result["step"]["step_ms"], result["ceilings"]["gigabytes_a_second"]
    return [
        *lines,
        "",
        f"Ceilings of the host: {ceiling:.0f} GFLOP/s for float32 products, {copies:.0f} GB/s for copies (reads plus"
        f" writes). The convolutions of a step with {BATCH} images take {counted:.2f} GFLOP: {ideal:.1f} ms at the"
        f" ceiling, {step:.1f} ms measured, which is {ideal / step:.0%} of the ceiling.",
    ]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))


if __name__ == "__main__":
    print(json.dumps({"ceilings": _ceilings, "step": _step}[sys.argv[1]]()))
