"""Test accuracy of the default recipes: mean and standard deviation over three seeds, each a `zoo.train` command.

The seconds of a run include the influence of other processes on the machine; use `time_to_accuracy` to compare times.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# (model, dataset, accuracy that the recipe must reach on the full test split)
TARGETS = (
    ("cnn", "digits", 0.98),
    ("cnn", "mnist", 0.992),
    ("simplenet", "mnist", 0.98),
    ("lstm", "mnist", 0.987),
    ("self_attention", "mnist", 0.975),
    ("lstm", "sst2_sentences", 0.80),
    ("transformer", "sst2_sentences", 0.80),
)


def measure(data_dir: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    """Return accuracy and training time of every run.

    Args:
        data_dir: Folder of prepared TFDS sets.
        seeds: Random seeds of the runs.
    """
    return {"seeds": seeds, "rows": [_row(*target, data_dir, seeds) for target in TARGETS]}


def _row(model: str, dataset: str, target: float, data_dir: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    runs = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            words = ["--model", model, "--dataset", dataset, "--data-dir", str(data_dir), "--seed", str(seed)]
            command = [sys.executable, "-m", "zoo.train", *words, "--output", f"{folder}/run", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
        print(model, dataset, seed, runs[-1]["test"]["accuracy"], file=sys.stderr)
    accuracies = [run["test"]["accuracy"] for run in runs]
    return {
        "command": f"python -m zoo.train --model {model} --dataset {dataset} --seed 0 (1, 2)",
        "model": model,
        "dataset": dataset,
        "target": target,
        "accuracies": accuracies,
        "mean": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies),
        "epochs": runs[0]["epochs"],
        "test_examples": runs[0]["test"]["examples"],
        "parameters": runs[0]["parameters"],
        "mean_seconds": statistics.mean(run["seconds"] for run in runs),
        "examples_per_second": [run["examples_per_second"] for run in runs],
    }


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        "| model | data | target | mean of seeds | standard deviation | each seed | epochs | training, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        each = ", ".join(f"{a:.2%}" for a in r["accuracies"])
        lines.append(
            f"| {r['model']} ({r['parameters']:,} parameters) | {r['dataset']} ({r['test_examples']:,} test) |"
            f" {r['target']:.1%} | **{r['mean']:.2%}** | {r['spread']:.2%} | {each} | {r['epochs']} |"
            f" {r['mean_seconds']:.0f} |"
        )
    return "\n".join(lines)
