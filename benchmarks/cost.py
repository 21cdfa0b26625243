"""What a training step costs in time and memory as batch, width, depth, length or data grow: fitted exponents.

Each case is a process of its own, which trains on random examples of one size. Its time is the median over the steps
of `fit`'s compiled step, on one batch over and over; of the cases where the data grow, it is the seconds of an epoch
through the input pipeline. Its memory is the largest resident set of the process, less that before the model was
built. The exponent b is that of a * size^b by least squares in logarithms: 1 is linear, 2 quadratic. Constant costs of
a step make it smaller; what grows faster than its arithmetic shows as an exponent above the expected one.
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

# By name: model, what grows, its sizes, and the largest exponent that arithmetic explains.
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
# Above the exponent of the arithmetic: what a cache that is too small, and noise, may add.
ALLOWANCE = 0.25


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return milliseconds and megabytes for each size, and their exponents."""
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
    """Return b of a * size^b, by least squares in logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-3)) for value in values]
    return statistics.linear_regression(x, y).slope


def _case(model: str, grows: str, sizes: dict[str, int]) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.cost", model, grows, json.dumps(sizes)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _resident_megabytes() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS gives bytes, Linux kilobytes
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
    """Be one case."""
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
    tf.ones((8, 8)) @ tf.ones((8, 8))  # what the first operation takes is not the model's
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
        "| what grows | sizes | ms | time grows with the power | memory, MB | memory with the power |",
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
    """Write a PNG: time and memory against size, both logarithmic, with the fitted lines."""
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
        f"`of 2`: its arithmetic is at most quadratic. More than {result['allowance']} above that would be a surprise."
        " Of `examples` the time is an epoch's."
    )
    return "\n".join([*table(result), "", note])


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
