"""Strategies: the same weights on one replica and on two, and the price of MirroredStrategy on one device.

Equality: one epoch of the shuffled digits with the default recipe, without dropout, the same seed; the largest
difference of any weight from the run with no strategy. Speed: training examples a second of the cnn on MNIST, first
step and validation left out, the two sides in turn.
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
PAIRS = 4


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the differences and the speeds."""
    with tempfile.TemporaryDirectory() as folder:
        equality = [_differences(model, data_dir, Path(folder)) for model in MODELS]
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


def _differences(model: str, data_dir: Path, folder: Path) -> dict[str, Any]:
    import numpy as np

    from strategies import backend

    backend.start()
    from zoo.runs import RunFolder

    weights = {}
    for way, words in WAYS.items():
        output = folder / f"{model}-{way.split(',')[0]}"
        _train(
            output, data_dir, "--model", model, "--dataset", "digits", "--set", "dropout=0", "--keep", "last", *words
        )
        weights[way] = RunFolder(output).load_model().get_weights()
    reference = weights["none"]
    largest = {
        way: max(float(np.abs(a - b).max()) for a, b in zip(found, reference, strict=True))
        for way, found in weights.items()
        if way != "none"
    }
    print(model, largest, file=sys.stderr)
    return {"model": model, "largest_difference": largest}


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["| model | " + " | ".join(list(WAYS)[1:]) + " |", "| --- | --- | --- |"]
    for row in result["equality"]:
        lines.append(f"| {row['model']} | " + " | ".join(f"{d:.1e}" for d in row["largest_difference"].values()) + " |")
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
