"""Compressed LeNet-300-100 and LeNet-5 (Caffe): error and size of runnable .tflite files on the MNIST test images.

Each network is trained without dropout on images shifted by one or two pixels, and then compressed by one recipe with a
trained LeNet-5 as the teacher. The baseline for LeNet-5 is a network of the same small shape trained from scratch on
labels alone, for as many epochs as all stages together, and quantized by the same exporter. The compression ratio
refers to the float32 weights of the original network. Runs are kept under runs/lenets. The smallest files of the first
seed that reach their targets are kept next to this report.
"""

import itertools
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.commands import run_command

RUNS = Path("runs") / "lenets"
RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
# Name: (model, maximum shift in pixels, epochs, settings)
TEACHER = ("lenet5", 2, 10, ("dropout=0.3",))
NETWORKS = {"lenet5": ("lenet5", 2, 7, ("dropout=0",)), "lenet300": ("lenet300", 1, 15, ("dropout=0",))}
FLOAT32 = {"lenet5": 4 * 431_080, "lenet300": 4 * 266_610}  # bytes of the weights
_SMALL = (
    "channels(keep=conv_1:6|conv_2:{}|hidden:20, epochs=14, learning_rate=4e-3) + qat(epochs=4, learning_rate=4e-4)"
)
_TAUGHT = " + distill({teacher}, temperature=3, alpha=0.1)"
RECIPES = (
    ("lenet5", f"{_SMALL.format(16)} + int8(per_tensor=true){_TAUGHT}"),
    ("lenet5", f"{_SMALL.format(14)} + int4{_TAUGHT}"),
    (
        "lenet300",
        "channels(keep=hidden_1:90|hidden_2:45, epochs=10, learning_rate=2e-3)"
        f" + prune(0.85, epochs=14, learning_rate=2e-3) + qat(epochs=5, learning_rate=3e-4) + int4{_TAUGHT}",
    ),
)
SCRATCH = ((6, 14, 20), (6, 16, 20), (8, 18, 24))  # filters, filters, units
SCRATCH_EPOCHS = 18  # total epochs of lenet5's stages


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each file.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = []
    teacher = _trained("teacher", TEACHER, 0, data_dir)
    for seed in SEEDS:
        for name, recipe in RECIPES:
            run = _trained(name, NETWORKS[name], seed, data_dir)
            row = _compressed(run, recipe.format(teacher=teacher), FLOAT32[name])
            rows.append({"seed": seed, "network": name, **row})
            print(rows[-1], file=sys.stderr, flush=True)
        for first, second, units in SCRATCH:
            shape = (f"filters={first},{second}", f"units={units}", "dropout=0")
            run = _trained(f"scratch-{first}-{second}-{units}", ("lenet5", 2, SCRATCH_EPOCHS, shape), seed, data_dir)
            for precision in ("int8(per_tensor=true)", "int4"):
                row = _compressed(run, precision, FLOAT32["lenet5"])
                rows.append({"seed": seed, "network": f"{first}-{second}-{units} from scratch", **row})
                print(rows[-1], file=sys.stderr, flush=True)
    result = {"rows": rows}
    _keep(rows)
    return result


def _trained(name: str, how: tuple[str, int, int, tuple[str, ...]], seed: int, data_dir: Path) -> Path:
    """Train a network unless it exists, and return its run folder."""
    model, shift, epochs, settings = how
    run = RUNS / f"{name}-{seed}"
    if not (run / "metrics.json").is_file():
        words = ["--model", model, "--dataset", "mnist", "--data-dir", str(data_dir), "--seed", str(seed)]
        words += ["--precision", "bfloat16"] if model == "lenet5" else []
        words += ["--resume"] if (run / "config.json").is_file() else []
        words += ["--shift", str(shift), "--epochs", str(epochs), "--batch-size", "128", "--learning-rate", "2e-3"]
        run_command("zoo.train", *words, *(w for s in settings for w in ("--set", s)), "--output", str(run))
    return run


def _compressed(run: Path, recipe: str, float32: int) -> dict[str, Any]:
    """Compress a run, and compare the file with the size of the float32 weights in bytes."""
    found = run_command("compression.compress", str(run), "--recipe", recipe, "--bare")
    return {
        "recipe": recipe,
        "error": 1 - found["test"]["litert"]["accuracy"],
        "bytes": found["bytes"],
        "gzip_bytes": found["gzip_bytes"],
        "times": float32 / found["bytes"],
        "times_gzip": float32 / found["gzip_bytes"],
        "path": found["path"],
    }


def _keep(rows: list[dict[str, Any]]) -> None:
    """Keep the files of the first seed, with their receipts."""
    for row in rows:
        if row["seed"] == SEEDS[0] and row["network"] in NETWORKS:
            path, name = Path(row["path"]), f"{row['network']}-{row['bytes']}"
            shutil.copyfile(path, RESULTS / f"{name}.tflite")
            shutil.copyfile(path.with_suffix(".receipt.json"), RESULTS / f"{name}.receipt.json")


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table: a row for each network and recipe."""
    lines = [
        "| compressed LeNets | error, each seed | mean error | bytes | ratio | gzip | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    numbers = _numbers(result)
    for (network, recipe), rows in grouped(result).items():
        mean = {
            key: statistics.mean(r[key] for r in rows)
            for key in ("error", "bytes", "times", "gzip_bytes", "times_gzip")
        }
        errors = ", ".join(f"{row['error']:.2%}" for row in rows)
        lines.append(
            f"| {network} ({numbers[recipe]}) | {errors} | {mean['error']:.2%} | {mean['bytes']:,.0f} |"
            f" {mean['times']:.1f} | {mean['gzip_bytes']:,.0f} | {mean['times_gzip']:.1f} |"
        )
    return [*lines, "", *(f"{number}. `{recipe}`" for recipe, number in numbers.items())]


def grouped(result: dict[str, Any]) -> dict[tuple[str, str], list[dict]]:
    """Return the rows grouped by network and recipe, one for each seed."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in result["rows"]:
        groups.setdefault((row["network"], row["recipe"]), []).append(row)
    return groups


def _numbers(result: dict[str, Any]) -> dict[str, int]:
    return {recipe: i for i, recipe in enumerate(dict.fromkeys(recipe for _, recipe in grouped(result)), 1)}


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, and plot error against size of LeNet-5 to lenets.png."""
    _draw(result, RESULTS / "lenets.png")
    return "\n".join([*table(result), "", "![The same as a picture](lenets.png)"])


def _draw(result: dict[str, Any], path: Path) -> None:
    """Write a PNG that plots the error of each file against its size, compressed and trained from scratch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    # A dark and a light colour for each network, for int8 and int4.
    colours = itertools.cycle(("#1f5fa8", "#59a0e0", "#c2571a", "#e39a5b", "#7b3fa0", "#b98ad6", "#4f7a28", "#9cc46c"))
    for (network, recipe), rows in grouped(result).items():
        if network == "lenet300":
            continue
        precision = recipe.partition("int")[2][:1]
        label = f"{'LeNet-5 compressed' if network == 'lenet5' else network}, int{precision}"
        marker = "o" if network == "lenet5" else "^"
        axes.plot(
            [r["bytes"] / 1000 for r in rows],
            [100 * r["error"] for r in rows],
            marker,
            color=next(colours),
            label=label,
        )
    axes.set_xlabel("kilobytes of the .tflite file")
    axes.set_ylabel("test error, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(path, dpi=120)
