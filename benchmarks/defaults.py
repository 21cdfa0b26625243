"""Default settings on data that they were not chosen on, beside the script that everybody writes.

The plain script has the same network, Adam at 1e-3, batches of 64, `fit`, the same number of epochs and the same test
examples (`benchmarks/plain_fit.py`). It trains on all other examples; `zoo.train` keeps a tenth of them for validation.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import run_command, told
from zoo.config.train_config import TrainConfig
from zoo.data import Split, load
from zoo.runs.folder import RunFolder

MODEL = "cnn"
SEEDS = (0, 1, 2)
RUNS = Path("runs") / "defaults"  # where a measurement that was stopped goes on


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return the accuracies of both sides for every set and seed.

    Args:
        data_dir: Folder of prepared TFDS sets; photographs of flowers, a folder by class, are in ../raw/flowers.
        quick: Whether to use one seed.
    """
    sets = {"cifar10": {"dataset": "cifar10", "data_dir": data_dir}}
    flowers = data_dir.parent / "raw" / "flowers"
    if flowers.is_dir():
        sets["flowers"] = {"data": flowers, "image_size": 96}
    return {"rows": [_row(name, given, SEEDS[: 1 if quick else None]) for name, given in sets.items()]}


def _row(name: str, given: dict[str, Any], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Train both sides for every seed."""
    data = load(TrainConfig(model=MODEL, **given))
    RUNS.mkdir(parents=True, exist_ok=True)
    file = RUNS / f"{name}.npz"
    x, y = (np.concatenate(pair) for pair in zip(_arrays(data.train), _arrays(data.validation), strict=True))
    np.savez(file, x_train=x, y_train=y, **dict(zip(("x_test", "y_test"), _arrays(data.test), strict=True)))
    row: dict[str, Any] = {"data": name, "test_examples": len(data.test), "ours": [], "plain": []}
    for seed in seeds:
        run = RunFolder(RUNS / f"{name}-{seed}")
        if not run.finished:
            words = [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value))]
            words = ["--resume"] if run.started else ["--model", MODEL, *words, "--seed", str(seed)]
            run_command("zoo.train", *words, "--output", str(run.path))
        metrics = run.read_metrics()
        row |= {"epochs": metrics["epochs"], "parameters": metrics["parameters"]}
        row["ours"].append(metrics["test"]["accuracy"])
        row["plain"].append(_plain(file, metrics["epochs"], seed))
        told({"data": name, "seed": seed, "ours": row["ours"][-1], "plain": row["plain"][-1]})
    return row


def _arrays(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return all images and labels; images may be decoded when they are looked at."""
    return split.x[np.arange(len(split))], split.y


def _plain(file: Path, epochs: int, seed: int) -> float:
    """Return the accuracy of the plain script."""
    kept = file.with_name(f"{file.stem}-{seed}-plain.json")
    if not kept.is_file():
        command = [sys.executable, "-m", "benchmarks.plain_fit", MODEL, str(file), str(epochs), str(seed)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        kept.write_text(done.stdout.splitlines()[-1])
    return json.loads(kept.read_text())["accuracy"]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        f"| data, {MODEL} | epochs | default settings, mean | plain script, mean | each seed | each seed, plain |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        means = (f"**{statistics.mean(r[side]):.2%}**" for side in ("ours", "plain"))
        each = (", ".join(f"{a:.2%}" for a in r[side]) for side in ("ours", "plain"))
        about = f"{r['data']} ({r['parameters']:,} parameters, {r['test_examples']:,} test)"
        lines.append(f"| {about} | {r['epochs']} | {' | '.join(means)} | {' | '.join(each)} |")
    return "\n".join(lines)
