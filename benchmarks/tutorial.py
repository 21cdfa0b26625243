"""The model of TF-MOT's guides, compressed by stock TF-MOT on tf_keras and by this project: accuracy and file sizes.

Both sides train the same architecture (12 filters of 3x3, pooling, Dense classes) for four epochs on MNIST, and then
apply the same stages up to full-integer files. `benchmarks.stock_tfmot` describes the schedules of the guides. Our
recipes take two or three epochs per stage, six for pruning 80 %; sparsity refers to all weights together
(`budget=global`). Results are those of the .tflite files on the 10,000 test images. The ratio is that of the gzipped
float32 file of the same side to the gzipped file of the stage. Runs and files are kept under runs/tutorial; delete the
folder to repeat them.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import run_command

RUNS = Path("runs") / "tutorial"
SEEDS = (0, 1, 2)
# Our recipe for each stage of the guides, and one that goes beyond them.
_PRUNE = "prune({}, budget=global, epochs={}, learning_rate=2e-3)"
_CLUSTER, _QAT = "cluster({}, epochs=3, learning_rate={})", "qat(epochs={}, learning_rate={})"
RECIPES = {
    "float32": "float32",
    "int8": "int8",
    "pruned_80_int8": f"{_PRUNE.format(0.8, 6)} + int8",
    "clustered_16_int8": f"{_CLUSTER.format(16, 2e-3)} + int8",
    "pqat": f"{_PRUNE.format(0.5, 3)} + {_QAT.format(3, 1e-3)} + int8(per_tensor=true)",
    "cqat": f"{_CLUSTER.format('8, init=kmeans++', 2e-3)} + {_QAT.format(2, 5e-4)} + int8",
    "pcqat": f"{_PRUNE.format(0.5, 2)} + {_CLUSTER.format(8, 1e-3)} + {_QAT.format(3, 5e-4)} + int8",
    "prune 80 %, cluster 16, qat": f"{_PRUNE.format(0.8, 6)} + {_CLUSTER.format(16, 1e-3)} + {_QAT.format(3, 5e-4)}"
    " + int8",
}
TRAINING = ("--model", "cnn_12", "--dataset", "mnist", "--epochs", "4", "--batch-size", "32", "--learning-rate", "2e-3")


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each seed, side and stage.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = []
    for seed in SEEDS:
        for stage in _stock(seed, data_dir)["stages"]:
            rows.append({"seed": seed, "side": "stock", **{k: stage[k] for k in ("stage", *_KEPT)}})
        for stage, recipe in RECIPES.items():
            rows.append({"seed": seed, "side": "ours", "stage": stage, **_ours(seed, recipe, data_dir)})
            print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows, "recipes": RECIPES}


_KEPT = ("accuracy", "bytes", "gzip_bytes")


def _stock(seed: int, data_dir: Path) -> dict[str, Any]:
    place = RUNS / f"stock-{seed}"
    if not (place / "result.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.stock_tfmot", str(_arrays(data_dir)), str(seed), str(place)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        (place / "result.json").write_text(done.stdout.splitlines()[-1] + "\n", encoding="utf-8")
    return json.loads((place / "result.json").read_text(encoding="utf-8"))


def _arrays(data_dir: Path) -> Path:
    """Write MNIST with all 60,000 training images as an .npz file for `stock_tfmot`, and return its path."""
    path = RUNS / "mnist.npz"
    if not path.is_file():
        from zoo.config.train_config import TrainConfig
        from zoo.data import load

        data = load(TrainConfig(dataset="mnist", data_dir=data_dir).resolved())
        x, y = (np.concatenate([getattr(s, name) for s in (data.train, data.validation)]) for name in ("x", "y"))
        np.savez(path, x_train=x, y_train=y, x_test=data.test.x, y_test=data.test.y)
    return path


def _ours(seed: int, recipe: str, data_dir: Path) -> dict[str, Any]:
    run = RUNS / f"ours-{seed}"
    if not (run / "metrics.json").is_file():
        run_command("zoo.train", *TRAINING, "--seed", str(seed), "--data-dir", str(data_dir), "--output", str(run))
    found = run_command("compression.compress", str(run), "--recipe", recipe, "--bare")
    return {"accuracy": found["test"]["litert"]["accuracy"], **{k: found[k] for k in _KEPT[1:]}}


def summary(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the means over the seeds for each stage and side, including the gzipped compression ratio."""
    rows = []
    for stage in RECIPES:
        row: dict[str, Any] = {"stage": stage}
        for side in ("stock", "ours"):
            found = [r for r in result["rows"] if (r["side"], r["stage"]) == (side, stage)]
            floats = {r["seed"]: r for r in result["rows"] if (r["side"], r["stage"]) == (side, "float32")}
            if found:
                row[side] = {key: statistics.mean(r[key] for r in found) for key in _KEPT}
                row[side]["points"] = 100 * (
                    row[side]["accuracy"] - statistics.mean(r["accuracy"] for r in floats.values())
                )
                row[side]["times"] = statistics.mean(floats[r["seed"]]["gzip_bytes"] / r["gzip_bytes"] for r in found)
        rows.append(row)
    return rows


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table of means."""
    lines = [
        "| TF-MOT's guide model | stock: accuracy | bytes | gzip | ratio | ours: accuracy | bytes | gzip | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in summary(result):
        cells = []
        for side in ("stock", "ours"):
            if r := row.get(side):
                cells += [f"{r['accuracy']:.2%} ({r['points']:+.2f})", f"{r['bytes']:,.0f}", f"{r['gzip_bytes']:,.0f}"]
                cells += [f"{r['times']:.1f}"]
            else:
                cells += [""] * 4
        lines.append(f"| {row['stage']} | {' | '.join(cells)} |")
    seeds = len({r["seed"] for r in result["rows"]})
    note = "in parentheses, points relative to float32 of the same side; ratio: gzipped float32 file to gzipped file."
    return [*lines, "", f"Means over {seeds} seed(s), MNIST; {note}"]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, with means over the seeds followed by each seed."""
    lines = [
        *table(result),
        "",
        "| seed | side | stage | accuracy | bytes | gzip |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        lines.append(
            f"| {r['seed']} | {r['side']} | {r['stage']} | {r['accuracy']:.2%} | {r['bytes']:,} | {r['gzip_bytes']:,} |"
        )
    return "\n".join([*lines, "", "Our recipes:", "", *(f"- {name}: `{recipe}`" for name, recipe in RECIPES.items())])
