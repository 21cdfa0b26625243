"""Strategies: the same weights on one replica and on two, and the price of MirroredStrategy on one device.

Equality: one shuffled epoch with the default recipe, without dropout, the same seed; the largest difference of any
weight from the run with no strategy. Two replicas sum a gradient in another order than one device, so they differ by
rounding from the first step, and training can amplify that. float64 tells the two causes of a difference apart: a fault
in the data, the loss or the optimizer would be as large in it as in float32, rounding starts 1e9 times smaller.

Speed: training examples a second of the cnn on MNIST, first step and validation left out, the two sides in turn.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MODELS = ("simplenet", "cnn", "lstm")
WAYS = {
    "none": ("--strategy", "none"),
    "one_device": ("--strategy", "one_device"),
    "mirrored, 2 virtual devices": ("--strategy", "mirrored", "--virtual-devices", "2"),
}
EQUALITY = (("digits", "float32"), ("mnist", "float32"), ("mnist", "float64"))
PAIRS = 4


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the differences and the speeds."""
    with tempfile.TemporaryDirectory() as folder:
        equality = [
            _differences(model, dataset, precision, data_dir, Path(folder))
            for dataset, precision in EQUALITY
            for model in MODELS
        ]
        speeds: dict[str, list[int]] = {"none": [], "mirrored": []}
        for pair in range(PAIRS):
            for strategy, measured in speeds.items():
                words = ("--model", "cnn", "--dataset", "mnist", "--strategy", strategy)
                run = _train(Path(folder) / f"{strategy}-{pair}", data_dir, *words)
                measured.append(run["examples_per_second"])
    ratios = [b / a for a, b in zip(speeds["none"], speeds["mirrored"], strict=True)]
    return {"equality": equality, "examples_per_second": speeds, "ratio": statistics.median(ratios), "ratios": ratios}


def _train(output: Path, data_dir: Path, *words: str) -> dict[str, Any]:
    fixed = ("--data-dir", str(data_dir), "--epochs", "1", "--output", str(output), "--json")
    command = [sys.executable, "-m", "zoo.train", *words, *fixed]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _differences(model: str, dataset: str, precision: str, data_dir: Path, folder: Path) -> dict[str, Any]:
    import numpy as np

    from strategies import backend

    backend.start()
    from zoo.runs import RunFolder

    weights = {}
    fixed = ("--model", model, "--dataset", dataset, "--precision", precision, "--set", "dropout=0", "--keep", "last")
    for way, words in WAYS.items():
        if dataset != "digits" and way == "one_device":
            continue  # it is bit for bit `none` on the digits already
        output = folder / "-".join((model, dataset, precision, way.split(",")[0]))
        _train(output, data_dir, *fixed, *words)
        weights[way] = RunFolder(output).load_model().get_weights()
    reference = weights["none"]
    largest = {
        way: max(float(np.abs(a - b).max()) for a, b in zip(found, reference, strict=True))
        for way, found in weights.items()
        if way != "none"
    }
    row = {"model": model, "dataset": dataset, "precision": precision, "largest_difference": largest}
    print(row, file=sys.stderr)
    return row


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["| model | data | precision | " + " | ".join(list(WAYS)[1:]) + " |", "| --- | --- | --- | --- | --- |"]
    for row in result["equality"]:
        cells = [row["model"], row["dataset"], row["precision"]]
        found = row["largest_difference"]
        cells += [f"{found[way]:.1e}" if way in found else "not run" for way in list(WAYS)[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    speeds = result["examples_per_second"]
    lines += [
        "",
        "| strategy | examples a second, each run | median |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {', '.join(map(str, found))} | {statistics.median(found):,.0f} |"
            for name, found in speeds.items()
        ),
        "",
        f"mirrored on one device runs at **{result['ratio']:.3f}** of the speed of no strategy (median of"
        f" {len(result['ratios'])} pairs: {', '.join(f'{r:.3f}' for r in result['ratios'])}).",
    ]
    return "\n".join(lines)
