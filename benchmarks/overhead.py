"""Overhead of each strategy on one machine, in examples per second of `zoo.train`.

All strategies have the same global batch and the same cores, so that any difference from `none` is overhead.
`multi_worker` runs under `strategies.launch` with separate worker processes. The throughput is that of metrics.json,
which excludes start-up, the first step and validation.

A simple model is checked: a step on two devices or workers takes as long as on one, and in addition a fixed time and a
time for each byte of the gradients. Both are fitted to the steps of simplenet and large, and predict the others.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import rounds
from benchmarks.commands import told

LAUNCH = ("strategies.launch", "--workers")
# By name: the launcher, and the arguments of zoo.train.
WAYS = {
    "none": ((), ("--strategy", "none")),
    "one_device": ((), ("--strategy", "one_device")),
    "mirrored, 1 device": ((), ("--strategy", "mirrored")),
    "mirrored, 2 virtual devices": ((), ("--strategy", "mirrored", "--virtual-devices", "2")),
    "multi_worker, 1 worker": ((*LAUNCH, "1"), ("--strategy", "multi_worker")),
    "multi_worker, 2 workers": ((*LAUNCH, "2"), ("--strategy", "multi_worker")),
}
# Number of steps of a run at batch 128, by model.
MODELS = {"simplenet": 400, "large": 300, "cnn": 150, "lstm": 60}
PROBES = ("simplenet", "large")
PREDICTED = ("mirrored, 2 virtual devices", "multi_worker, 2 workers")
BATCH, ROUNDS = 128, 2


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each model and strategy.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = {
        (model, way): {"name": f"{model}, {way}", "unit": "examples/s", "better": "higher", "rounds": []}
        for model in MODELS
        for way in WAYS
    }
    for number in range(ROUNDS):
        for model in MODELS:
            for way in list(WAYS) if number % 2 == 0 else reversed(WAYS):
                found = _trained(model, way, data_dir)
                rows[model, way]["rounds"].append(found["examples_per_second"])
                rows[model, way]["parameters"] = found["parameters"]
                told(rows[model, way])
    return {"measured": list(rows.values())}


def _trained(model: str, way: str, data_dir: Path) -> dict[str, Any]:
    """Return the metrics of a training."""
    launched, words = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        command = (
            *("-m", "zoo.train", "--model", model, "--dataset", "mnist", "--data-dir", str(data_dir), *words),
            *("--epochs", "1", "--steps-per-epoch", str(MODELS[model]), "--batch-size", str(BATCH)),
            *("--output", f"{folder}/run", "--json"),
        )
        start = ("-m", *launched, "--", sys.executable) if launched else ()
        done = subprocess.run([sys.executable, *start, *command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def predictions(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the predicted and the measured throughput relative to `none`, for each network that is no probe."""
    found = {row["name"]: row for row in result["measured"]}

    def seconds(model: str, way: str) -> float:
        return BATCH / statistics.median(found[f"{model}, {way}"]["rounds"])

    def size(model: str) -> int:
        return 4 * found[f"{model}, none"]["parameters"]  # bytes of the gradients, in float32

    rows = []
    for way in PREDICTED:
        few, many = PROBES
        added = {model: seconds(model, way) - seconds(model, "none") for model in PROBES}
        by_byte = max((added[many] - added[few]) / (size(many) - size(few)), 0)
        fixed = added[few] - by_byte * size(few)
        for model in (model for model in MODELS if model not in PROBES):
            alone = seconds(model, "none")
            rows.append(
                {
                    "model": model,
                    "way": way,
                    "fixed": fixed,
                    "by_byte": by_byte,
                    "predicted": alone / (alone + fixed + by_byte * size(model)),
                    "measured": alone / seconds(model, way),
                }
            )
    return rows


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables, and what the prediction was fitted to."""
    costs = {row["way"]: row for row in predictions(result)}
    told = [
        f"{way}: {1000 * row['fixed']:.2f} ms for each step, and {1e9 * row['by_byte']:.2f} ms for each MB of gradients"
        for way, row in costs.items()
    ]
    fitted = f"Fitted to {' and '.join(PROBES)}: {'; '.join(told)}."
    return [*measured_table(result), "", *predicted_table(result), "", fitted]


def measured_table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table of throughputs."""
    found = {row["name"]: row["rounds"] for row in result["measured"]}
    lines = ["| strategy | " + " | ".join(f"{model}, examples/s | relative to none" for model in MODELS) + " |"]
    lines.append("| --- |" + " --- | --- |" * len(MODELS))
    for way in WAYS:
        cells = []
        for model in MODELS:
            share, low, high = rounds.ratio(found[f"{model}, {way}"], found[f"{model}, none"])
            cells += [f"{statistics.median(found[f'{model}, {way}']):,.0f}", f"{share:.2f} ({low:.2f} to {high:.2f})"]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def predicted_table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table of predictions."""
    lines = [
        "| relative to none | network | predicted | measured | predicted / measured |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in predictions(result):
        ratio = row["predicted"] / row["measured"]
        lines.append(
            f"| {row['way']} | {row['model']} | {row['predicted']:.2f} | {row['measured']:.2f} | {ratio:.2f} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
