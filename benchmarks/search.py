"""Results of `compression.search` for several budgets, its duration, and a comparison with random search.

Runs of MNIST are trained on images shifted by one or two pixels and then searched. Recipes are chosen on the 6,000
validation images; the 10,000 test images are used only for the files on each Pareto front. Every winner is reproduced
by its printed command and compared by SHA-256. Then TPE and random search are compared with the same number of trials
on a small training set (4,000 images of MNIST at half resolution, 1,000 for validation), by the hypervolume of their
fronts: logarithmic bytes below the budget and logarithmic validation error below 20 %, relative to the whole box. Runs
are kept under runs/search.
"""

import itertools
import json
import math
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.commands import run_command, told, trained
from compression.searching.pareto import hypervolume
from zoo.system.files import sha256

RUNS = Path("runs") / "search"
_COMMON = ("--dataset", "mnist", "--set", "dropout=0", "--shift")
TRAININGS = {
    "cnn": ("--model", "cnn", *_COMMON, "2", "--epochs", "10", "--learning-rate", "3e-3"),
    "simplenet": ("--model", "simplenet", *_COMMON, "1", "--epochs", "10"),
    "lstm": ("--model", "lstm", *_COMMON, "1"),
}
# By run: (arguments of the search, maximum bytes, minimum test accuracy), the harder budget first.
BUDGETS = {
    "cnn": (
        (
            "--max-bytes 10k --min-accuracy 0.992 --trials 40 --time-limit 18m --jobs 2 --space epochs=1,2",
            10_000,
            0.992,
        ),
        ("--max-bytes 6k --min-accuracy 0.985 --trials 40 --time-limit 8m --space epochs=1", 6_000, 0.985),
    ),
    "simplenet": (
        (
            "--max-bytes 15k --min-accuracy 0.975 --trials 8 --time-limit 9m --space precision=int4 --space qat=true"
            " --space epochs=3",
            15_000,
            0.975,
        ),
    ),
    "lstm": (
        (
            "--max-bytes 60k --min-accuracy 0.98 --trials 8 --time-limit 8m --space precision=int4,dynamic"
            " --space distill=none --space epochs=1",
            60_000,
            0.98,
        ),
    ),
}
SMALL = {"train": 4000, "validation": 1000, "test": 2000}
SEEDS, TRIALS, LIMIT, WORST = (0, 1, 2), 20, 20_000, 0.2
SAMPLERS = ("tpe", "random")


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each budget, and one for each seed and sampler.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    kept = ("parameters", "epochs", "test")
    rows = []
    for name, words in TRAININGS.items():
        run = RUNS / name
        told({"run": name, **trained(run, words, data_dir, kept)})
        for asked, most, least in BUDGETS[name]:
            rows.append(told({"run": name, **_searched(run, asked, data_dir), "most": most, "least": least}))
    return {"rows": rows, "compared": _compared(data_dir)}


def _searched(run: Path, asked: str, data_dir: Path) -> dict[str, Any]:
    """Search a run unless it was searched before, and return the winner and statistics of the search."""
    words = shlex.split(asked.format(**{name: RUNS / name for name in TRAININGS}))
    kept = run.parent / f"{run.name}-{''.join(c if c.isalnum() else '-' for c in asked[:14])}.json"
    if not kept.is_file():
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "compression.search", str(run), *words, "--data-dir", str(data_dir)],
            stdout=subprocess.PIPE,
            text=True,
        )
        found = json.loads((run / "search" / "search.json").read_text(encoding="utf-8"))
        found["seconds"], found["status"] = time.perf_counter() - began, done.returncode
        best = found["winner"] or found["closest"]
        found["again"] = _made_again(best["command"]) == best["sha256"]
        kept.write_text(json.dumps(found))
    found = json.loads(kept.read_text())
    best = found["winner"] or found["closest"]
    best["command"] = best["command"].partition(" --data-dir ")[0]  # the folder depends on the machine
    return {
        "command": f"python -m compression.search {run} {shlex.join(words)}",
        "seconds": found["seconds"],
        "status": found["status"],
        **{name: found[name] for name in ("trials", "stopped_early", "repeated", "rank_correlation", "importances")},
        "trained": len(found["files"]),
        "best": best,
        "again": found["again"],
        "front": [{k: row[k] for k in ("bytes", "accuracy", "test_accuracy", "recipe")} for row in found["front"]],
    }


def _made_again(command: str) -> str:
    """Return the SHA-256 of the file that a printed command creates in an empty folder."""
    module, *words = shlex.split(command)[2:]
    with tempfile.TemporaryDirectory() as folder:
        return sha256(Path(run_command(module, *words, "--output", folder)["path"]))


def _compared(data_dir: Path) -> list[dict[str, Any]]:
    """Return a row for each seed and sampler, with the hypervolume of its front."""
    run = RUNS / "small"
    if not (run / "metrics.json").is_file():
        words = ("--model", "cnn", "--data", str(_arrays(data_dir)), "--set", "dropout=0", "--set", "padding=same")
        training = ("--epochs", "8", "--batch-size", "128", "--learning-rate", "3e-3")
        run_command("zoo.train", *words, *training, "--output", str(run))
    with ThreadPoolExecutor(len(SAMPLERS)) as pool:  # parallel, because no time is measured here
        return list(pool.map(lambda both: told(_sampled(run, *both)), itertools.product(SEEDS, SAMPLERS)))


def _sampled(run: Path, seed: int, sampler: str) -> dict[str, Any]:
    folder = RUNS / f"small-{sampler}-{seed}"
    if not (folder / "search.json").is_file():
        words = f"--max-bytes {LIMIT} --min-accuracy 0.8 --trials {TRIALS} --sampler {sampler} --seed {seed}"
        run_command("compression.search", str(run), *words.split(), "--space", "epochs=1", "--output", str(folder))
    found = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    kept = {name: found[name] for name in ("trials", "stopped_early", "rank_correlation")}
    return {"seed": seed, "sampler": sampler, "hypervolume": _volume(found["files"]), **kept}


def _volume(files: Sequence[dict[str, Any]]) -> float:
    """Return the share dominated by the files in the box from 1,000 bytes and 0.1 % error to the limits."""
    low, high = (math.log(1000), math.log(0.001)), (math.log(LIMIT), math.log(WORST))
    points = [(math.log(row["bytes"]), math.log(max(1 - row["accuracy"], 0.001))) for row in files]
    return hypervolume(points, high) / math.prod(b - a for a, b in zip(low, high, strict=True))


def _arrays(data_dir: Path) -> Path:
    """Write a small part of MNIST at half resolution as an .npz file, and return its path."""
    path = RUNS / "small.npz"
    if not path.is_file():
        import numpy as np

        from zoo.config.train_config import TrainConfig
        from zoo.data import load

        data = load(TrainConfig(dataset="mnist", data_dir=data_dir).resolved())
        parts = {name: getattr(data, name).take(np.arange(count)) for name, count in SMALL.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        halved = {f"x_{name}": part.x.reshape(-1, 14, 2, 14, 2, 1).mean((2, 4)) for name, part in parts.items()}
        labels = {f"y_{name}": part.y for name, part in parts.items()}
        np.savez(path, **{name: x.round().astype(np.uint8) for name, x in halved.items()}, **labels)
    return path


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    lines = [
        "| `compression.search` on MNIST | found | gzip | ms | validation | test | trials (trained) | minutes |"
        " reproduced |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        best, shares = row["best"], [f"{row['best'][key]:.2%}" for key in ("accuracy", "test_accuracy")]
        lines.append(
            f"| `{row['run']}`: at most {row['most']:,} bytes, at least {row['least']:.1%} | {best['bytes']:,} bytes |"
            f" {best['gzip_bytes']:,} | {best['latency_ms']:.3f} | {' | '.join(shares)} |"
            f" {row['trials']} ({row['trained']}) | {row['seconds'] / 60:.1f} |"
            f" {'identical' if row['again'] else 'different'} |"
        )
    samplers = {name: [r for r in result["compared"] if r["sampler"] == name] for name in SAMPLERS}
    lines += [
        "",
        f"| hypervolume of the front after {TRIALS} trials | " + " | ".join(f"seed {s}" for s in SEEDS) + " | mean |",
    ]
    lines.append("| --- |" + " --- |" * (len(SEEDS) + 1))
    for name, rows in samplers.items():
        volumes = [row["hypervolume"] for row in rows]
        cells = " | ".join(f"{volume:.3f}" for volume in (*volumes, statistics.mean(volumes)))
        lines.append(f"| {name} | {cells} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, with winners, fronts and commands."""
    lines = [*table(result), ""]
    for row in result["rows"]:
        rho = row["rank_correlation"]
        told = (
            "too few for a rank correlation" if rho is None else f"rank correlation with the final accuracy {rho:.2f}"
        )
        lines += [
            f"`{row['command']}`: {row['stopped_early']} of {row['trials']} trials stopped after the estimate ({told}),"
            f" {row['repeated']} repeated; {'closest file' if row['status'] else 'winner'}:"
            f" `{row['best']['command']}`",
            "",
            "| bytes | validation | test | recipe |",
            "| --- | --- | --- | --- |",
            *(
                f"| {f['bytes']:,} | {f['accuracy']:.2%} | {f['test_accuracy']:.2%} | `{f['recipe']}` |"
                for f in row["front"]
            ),
            "",
        ]
    return "\n".join(lines).rstrip()
