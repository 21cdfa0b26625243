"""Agreement of strategies: the weights after training on one and on two replicas.

Each run trains for one shuffled epoch with the default recipe, its dropout and the same seed. The result is the largest
difference of any weight from the run without a strategy. Two replicas sum gradients in a different order than
one device, so they differ by rounding from the first step, and training can amplify this difference. float64 separates
rounding from faults: a fault in the data, the loss or the optimizer would be as large as in float32, whereas rounding
errors start 1e9 times smaller.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.commands import run_command

MODELS = ("simplenet", "cnn", "lstm")
WAYS = {
    "none": ("--strategy", "none"),
    "one_device": ("--strategy", "one_device"),
    "mirrored, 2 virtual devices": ("--strategy", "mirrored", "--virtual-devices", "2"),
}
EQUALITY = (("digits", "float32"), ("mnist", "float32"), ("mnist", "float64"))


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the largest differences by model, dataset and precision.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    with tempfile.TemporaryDirectory() as folder:
        equality = [
            _differences(model, dataset, precision, data_dir, Path(folder))
            for dataset, precision in EQUALITY
            for model in MODELS
        ]
    return {"equality": equality}


def _differences(model: str, dataset: str, precision: str, data_dir: Path, folder: Path) -> dict[str, Any]:
    import numpy as np

    from strategies import backend

    backend.start()
    from zoo.runs.folder import RunFolder

    weights = {}
    fixed = ("--model", model, "--dataset", dataset, "--precision", precision, "--keep", "last")
    for way, words in WAYS.items():
        if dataset != "digits" and way == "one_device":
            continue  # identical to `none`, as the digits show
        output = folder / "-".join((model, dataset, precision, way.split(",")[0]))
        run_command("zoo.train", *fixed, *words, "--data-dir", str(data_dir), "--epochs", "1", "--output", str(output))
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
    return "\n".join(lines)
