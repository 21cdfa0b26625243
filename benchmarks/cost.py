"""Scaling of a training step's time and memory with batch, width, depth, length, classes or data: fitted exponents.

Each case trains on random examples of one size in a separate process. Its time is the median of `fit`'s compiled step,
repeated on one batch; for cases that vary the amount of data, it is the time of an epoch through the input pipeline.
Its memory is the peak resident set size of the process minus that before the model was built. For a folder of pictures
(hard links to 2,000 JPEG files of 32x32 pixels), it is the time of the first reading, which decodes every picture, and
of the second, from the cache. The exponent b is fitted
to a * size^b by least squares in logarithms: 1 is linear, 2 quadratic. Constant costs lower the exponent. A cost that
grows faster than the arithmetic raises it above the expected value.
"""

import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import steps
from benchmarks.commands import told
from benchmarks.timing import peak_memory
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
    "resnet, batch": ("resnet", "batch", (16, 32, 64, 128), 1),
    "resnet, side of the images": ("resnet", "side", (16, 32, 64), 2),
    "simplenet, examples": ("simplenet", "examples", (8000, 32000, 128000), 1),
    "simplenet, classes": ("simplenet", "classes", (10, 100, 1000, 10_000), 1),
    "transformer, tokens of the vocabulary": ("transformer", "vocabulary", (1000, 10_000, 100_000), 1),
    "folder, files, first reading": ("folder", "files", (10_000, 100_000, 1_000_000), 1),
    "folder, files, second reading": ("folder again", "files", (10_000, 100_000, 1_000_000), 1),
}
QUICK = ("cnn, batch",)
STANDING = {
    "batch": 32,
    "width": 64,
    "side": 28,
    "depth": 1,
    "length": 64,
    "vocabulary": 5000,
    "examples": 4096,
    "classes": 10,
    "files": 1000,
}
STEPS, WARM_UP, SECONDS = 30, 3, 4.0
# Tolerance above the exponent of the arithmetic, for cache effects and noise.
ALLOWANCE = 0.25
# Pictures that the files of a folder are hard links to; file systems allow 65,000 links to one file.
PICTURES = 2000


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


def _settings(model: str, size: dict[str, int]) -> dict[str, Any]:
    if model == "cnn":
        return {"filters": (size["width"] // 2, size["width"], size["width"]), "units": size["width"]}
    if model == "lstm":
        return {"units": (size["width"],) * size["depth"]}
    if model == "resnet":
        return {"depth": 8}
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
    names = tuple(map(str, range(size["classes"])))
    if model == "transformer":
        x = rng.integers(1, size["vocabulary"], (count, size["length"]), np.int32)
        spec = DataSpec("random", "tokens", x.shape[1:], names, vocabulary_size=size["vocabulary"])
    else:
        height = size["length"] if model == "lstm" else size["side"]
        x = rng.integers(0, 256, (count, height, size["side"], 3 if model == "resnet" else 1), np.uint8)
        spec = DataSpec("random", "image", x.shape[1:], names)
    train = Split(x, rng.integers(0, len(names), count).astype("int32"))
    data = Dataset(spec, train, train.take(slice(0)), train.take(slice(1)))
    config = TrainConfig(model=model, batch_size=size["batch"], settings=_settings(model, size)).resolved()
    tf.ones((8, 8)) @ tf.ones((8, 8))  # excludes the memory of TensorFlow's first operation
    before = peak_memory()
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
    return {"ms": statistics.median(times) * 1e3, "megabytes": (peak_memory() - before) / 1e6}


def _read(files: int, again: bool) -> dict[str, float]:
    """Measure how long a process takes to read a folder of pictures, the first time or after another process."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["ZOO_CACHE"] = f"{place}/cache"
        _linked(Path(place), files)
        for _ in range(1 + again):
            with multiprocessing.get_context("spawn").Pool(1) as process:
                found = process.apply(_loaded, (Path(place) / "pictures",))
    assert found.pop("examples") == files
    return found


def _loaded(folder: Path) -> dict[str, float]:
    """Read a folder of pictures, and return the time, the memory and the number of examples."""
    from strategies import backend

    backend.start()
    from zoo import data
    from zoo.config.train_config import TrainConfig

    config = TrainConfig(model="simplenet", data=folder, image_size=16).resolved()
    before, began = peak_memory(), time.perf_counter()
    found = data.load(config)
    seconds = time.perf_counter() - began
    examples = len(found.train) + len(found.validation) + len(found.test)
    return {"ms": seconds * 1e3, "megabytes": (peak_memory() - before) / 1e6, "examples": examples}


def _linked(place: Path, files: int) -> None:
    """Write a folder `pictures` with ten classes, whose files are hard links to some random pictures."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder in ("sources", *(f"pictures/{label}" for label in range(10))):
        (place / folder).mkdir(parents=True)
    for number in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(place / f"sources/{number}.jpg")
    for number in range(files):
        os.link(place / f"sources/{number % PICTURES}.jpg", place / f"pictures/{number % 10}/{number:07d}.jpg")


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
    subject, grows, sizes = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    folder = subject.startswith("folder")
    found = _read(sizes["files"], subject.endswith("again")) if folder else _measured(subject, grows, sizes)
    print(json.dumps(found))
