"""Overhead of each strategy on one machine, in examples per second of `zoo.train`.

All strategies have the same global batch and the same cores, so that any difference from `none` is overhead.
`multi_worker` runs under `strategies.launch` with separate worker processes. The throughput is that of metrics.json,
which excludes start-up, the first step and validation.
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
MODELS = {"cnn": 150, "simplenet": 400}
ROUNDS = 3


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
                rows[model, way]["rounds"].append(_examples_a_second(model, way, data_dir))
                told(rows[model, way])
    return {"measured": list(rows.values())}


def _examples_a_second(model: str, way: str, data_dir: Path) -> float:
    launched, words = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        command = (
            *("-m", "zoo.train", "--model", model, "--dataset", "mnist", "--data-dir", str(data_dir), *words),
            *("--epochs", "1", "--steps-per-epoch", str(MODELS[model]), "--batch-size", "128"),
            *("--output", f"{folder}/run", "--json"),
        )
        start = ("-m", *launched, "--", sys.executable) if launched else ()
        done = subprocess.run([sys.executable, *start, *command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["examples_per_second"]


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
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


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
