"""Default settings on data that they were not chosen on, beside the script that everybody writes.

The plain script has the same network, Adam at 1e-3, batches of 64, `fit`, the same number of epochs and the same test
examples (`benchmarks/plain_fit.py`). It trains on all other examples; `zoo.train` keeps a tenth of them for validation.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import run_command, told
from zoo.config.train_config import TrainConfig
from zoo.data import load

MODEL = "cnn"
SEEDS = (0, 1, 2)


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return the accuracies of both sides for every set and seed.

    Args:
        data_dir: Folder of prepared TFDS sets; photographs of flowers, a folder by class, are in ../raw/flowers.
        quick: Whether to use one seed.
    """
    sets = {"cifar10": {"dataset": "cifar10", "data_dir": data_dir}}
    flowers = data_dir.parent / "raw" / "flowers"
    if flowers.is_dir():
        sets["flowers, 96x96"] = {"data": flowers, "image_size": 96}
    return {"rows": [_row(name, given, SEEDS[: 1 if quick else None]) for name, given in sets.items()]}


def _row(name: str, given: dict[str, Any], seeds: tuple[int, ...]) -> dict[str, Any]:
    """Train both sides for every seed."""
    data = load(TrainConfig(model=MODEL, **given))
    words = [word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.npz"
        x, y = (np.concatenate(pair) for pair in ((data.train.x, data.validation.x), (data.train.y, data.validation.y)))
        np.savez(file, x_train=x, y_train=y, x_test=data.test.x, y_test=data.test.y)
        ours, plain, epochs = [], [], 0
        for seed in seeds:
            output = ["--seed", str(seed), "--output", f"{folder}/{seed}"]
            run = run_command("zoo.train", "--model", MODEL, *words, *output)
            epochs = run["epochs"]
            command = [sys.executable, "-m", "benchmarks.plain_fit", MODEL, str(file), str(epochs), str(seed)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            ours.append(run["test"]["accuracy"])
            plain.append(json.loads(done.stdout.splitlines()[-1])["accuracy"])
            told({"data": name, "seed": seed, "ours": ours[-1], "plain": plain[-1]})
    return {"data": name, "epochs": epochs, "test_examples": len(data.test), "ours": ours, "plain": plain}


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        f"| data, {MODEL} | epochs | default settings, mean | plain script, mean | each seed | each seed, plain |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        means = (f"**{statistics.mean(r[side]):.2%}**" for side in ("ours", "plain"))
        each = (", ".join(f"{a:.2%}" for a in r[side]) for side in ("ours", "plain"))
        lines.append(
            f"| {r['data']} ({r['test_examples']:,} test) | {r['epochs']} | {' | '.join(means)} | {' | '.join(each)} |"
        )
    return "\n".join(lines)
