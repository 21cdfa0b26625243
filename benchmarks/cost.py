"""Scaling of a training step's time and memory with batch, width, depth, length or data: fitted exponents.

Each case trains on random examples of one size in a separate process. Its time is the median of `fit`'s compiled step,
repeated on one batch; for cases that vary the amount of data, it is the time of an epoch through the input pipeline.
Its memory is the peak resident set size of the process minus that before the model was built. The exponent b is fitted
to a * size^b by least squares in logarithms: 1 is linear, 2 quadratic. Constant costs lower the exponent. A cost that
grows faster than the arithmetic raises it above the expected value.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import steps
from benchmarks.commands import told
from zoo.system.files import replacing

# By name: model, varied size, its values, and the largest exponent that the arithmetic explains.
CASES: dict[str, tuple[str, str, tuple[int, ...], float]] = {
    "cnn, batch": ("cnn", "batch", (32, 128, 512), 1),
    "cnn, width of all layers": ("cnn", "width", (32, 64, 128), 2),
    "cnn, side of the images": ("cnn", "side", (24, 48, 96), 2),
    "lstm, units": ("lstm", "width", (64, 128, 256), 2),
    "lstm, layers": ("lstm", "depth", (1, 2, 4), 1),
    "lstm, length": ("lstm", "length", (16, 32, 64), 1),
    "transformer, blocks": ("transformer", "depth", (1, 2, 4), 1),
    "transformer, model_dim": ("transformer", "width", (64, 128, 256), 2),
    "transformer, length": ("transformer", "length", (64, 128, 256, 512), 2),
    "simplenet, examples": ("simplenet", "examples", (8000, 32000, 128000), 1),
}
QUICK = ("cnn, batch",)
STANDING = {"batch": 32, "width": 64, "side": 28, "depth": 1, "length": 64, "vocabulary": 5000, "examples": 4096}
STEPS, WARM_UP, SECONDS = 30, 3, 4.0
# Tolerance above the exponent of the arithmetic, for cache effects and noise.
ALLOWANCE = 0.25


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return milliseconds and megabytes for each size, and their exponents.

    Args:
        data_dir: Unused, because the examples are random.
        quick: Whether to measure a single case.
    """
    rows = []
    for name in QUICK if quick else CASES:
        model, grows, sizes, expected = CASES[name]
        found = [_case(model, grows, STANDING | {grows: size}) for size in sizes]
        row = {"name": name, "sizes": list(sizes), "expected": expected}
        for key in found[0]:
            row[key] = [case[key] for case in found]
        row["exponents"] = {key: exponent(sizes, row[key]) for key in ("ms", "megabytes")}
        rows.append(told(row))
    return {"allowance": ALLOWANCE, "rows": rows}


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """Return the exponent b of a * size^b, fitted by least squares in logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-3)) for value in values]
    return statistics.linear_regression(x, y).slope


def _case(model: str, grows: str, sizes: dict[str, int]) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.cost", model, grows, json.dumps(sizes)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _resident_megabytes() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _settings(model: str, size: dict[str, int]) -> dict[str, Any]:
    if model == "cnn":
        return {"filters": (size["width"] // 2, size["width"], size["width"]), "units": size["width"]}
    if model == "lstm":
        return {"units": (size["width"],) * size["depth"]}
    if model == "transformer":
        wide = {"model_dim": size["width"], "num_heads": 4, "ff_dim": 2 * size["width"]}
        return {"num_layers": size["depth"], **wide}
    return {}


def _measured(model: str, grows: str, size: dict[str, int]) -> dict[str, float]:
    """Measure one case in this process."""
    from strategies import backend

    backend.start()
    import numpy as np
    import tensorflow as tf

    from zoo import tasks
    from zoo.config.train_config import TrainConfig
    from zoo.data.dataset import Dataset, DataSpec, Split

    rng, count = np.random.default_rng(0), max(size["examples"], size["batch"])
    names = tuple(map(str, range(10)))
    if model == "transformer":
        x = rng.integers(1, size["vocabulary"], (count, size["length"]), np.int32)
        spec = DataSpec("random", "tokens", x.shape[1:], names, vocabulary_size=size["vocabulary"])
    else:
        height = size["length"] if model == "lstm" else size["side"]
        x = rng.integers(0, 256, (count, height, size["side"], 1), np.uint8)
        spec = DataSpec("random", "image", x.shape[1:], names)
    train = Split(x, rng.integers(0, 10, count).astype("int32"))
    data = Dataset(spec, train, train.take(slice(0)), train.take(slice(1)))
    config = TrainConfig(model=model, batch_size=size["batch"], settings=_settings(model, size)).resolved()
    tf.ones((8, 8)) @ tf.ones((8, 8))  # excludes the memory of TensorFlow's first operation
    before = _resident_megabytes()
    _, run = steps.compiled(config, spec)
    batches = iter(tasks.of(spec.task).training_batches(config, data, config.batch_size, 0, 1_000_000))
    if grows != "examples":
        batches = steps.over_and_over(next(batches))
    at_once, times = count // size["batch"] if grows == "examples" else 1, []
    run(batches, WARM_UP)
    while not times or (len(times) < STEPS and sum(times) < SECONDS):
        began = time.perf_counter()
        float(run(batches, at_once)["loss"])
        times.append(time.perf_counter() - began)
    return {"ms": statistics.median(times) * 1e3, "megabytes": _resident_megabytes() - before}


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| varied size | values | ms | exponent of time | memory, MB | exponent of memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        ms = ", ".join(f"{value:,.1f}" for value in row["ms"])
        megabytes = ", ".join(f"{value:,.0f}" for value in row["megabytes"])
        time, memory = (row["exponents"][key] for key in ("ms", "megabytes"))
        sizes = ", ".join(f"{size:,}" for size in row["sizes"])
        lines.append(
            f"| {row['name']} | {sizes} | {ms} | {time:.2f} of {row['expected']} | {megabytes} | {memory:.2f} |"
        )
    return lines


def draw(result: dict[str, Any], path: Path) -> None:
    """Write a PNG that plots time and memory against size on logarithmic axes, with the fitted lines.

    Args:
        result: Result of `measure`.
        path: File to write.
    """
    from matplotlib.figure import Figure

    columns, rows = 5, result["rows"]
    figure = Figure(figsize=(14, 2.9 * -(-len(rows) // columns)), layout="constrained")
    for axes, row in zip(figure.subplots(-(-len(rows) // columns), columns, squeeze=False).flat, rows, strict=False):
        sizes = row["sizes"]
        for key, unit, colour in (("ms", "ms", "#1f5fa8"), ("megabytes", "MB", "#c2571a")):
            slope = row["exponents"][key]
            at = math.exp(statistics.mean(math.log(max(value, 1e-3)) for value in row[key]))
            middle = math.exp(statistics.mean(map(math.log, sizes)))
            axes.plot(sizes, row[key], "o", color=colour)
            line = [at * (size / middle) ** slope for size in sizes]
            axes.plot(sizes, line, color=colour, linewidth=1, label=f"{unit}, power {slope:.2f}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_title(row["name"], fontsize=10)
        axes.grid(alpha=0.3)
        axes.margins(y=0.35)
        axes.legend(fontsize=8, loc="upper left")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    note = (
        f"`of 2` means that the arithmetic is at most quadratic. The tolerance is {result['allowance']}. For `examples`"
        " the time is that of an epoch."
    )
    return "\n".join([*table(result), "", note])


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
