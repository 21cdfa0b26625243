"""LeNet-300-100 and LeNet-5 (Caffe) made small: error and bytes of runnable .tflite files on the MNIST test images.

Each network is trained with its images moved by a pixel or two, without dropout, and then compressed by one recipe with
a trained LeNet-5 as the teacher. Beside every file of LeNet-5 stands the honest baseline: a network of the same small
shape trained from scratch, as long as all stages together, with labels alone, and quantized by the same exporter with
the same savings. Times smaller counts float32 weights of the network that the recipe began with. Runs are kept under
runs/lenets; the smallest files of the first seed that reach their targets are kept beside this report.
"""

import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.tutorial import run_command

RUNS = Path("runs") / "lenets"
RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
TEACHER = ("lenet5", 2, 12, ("dropout=0.3",))
# name: (model, pixels of shift, epochs, settings)
NETWORKS = {"lenet5": ("lenet5", 2, 10, ("dropout=0",)), "lenet300": ("lenet300", 1, 20, ("dropout=0",))}
_LENET5 = (
    "channels(keep=conv_1:{0}|conv_2:{1}|hidden:{2}, epochs=20, learning_rate=4e-3)"
    " + qat(epochs=5, learning_rate=4e-4) + int8(per_tensor=true) + distill({teacher}, temperature=3, alpha=0.1)"
)
_LENET300 = (
    "channels(keep=hidden_1:90|hidden_2:45, epochs=12, learning_rate=2e-3) + prune(0.85, epochs=15, learning_rate=2e-3)"
    " + qat(epochs=6, learning_rate=3e-4) + int4 + distill({teacher}, temperature=3, alpha=0.1)"
)
SHAPES = {"162x": (6, 14, 20), "250x": (5, 10, 14)}  # filters, filters, units
FLOAT32 = {"lenet5": 4 * 431_080, "lenet300": 4 * 266_610}  # bytes of their weights
SCRATCH_EPOCHS = 25  # as many as the stages have together


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each file."""
    rows = []
    teacher = _trained("teacher", TEACHER, 0, data_dir)
    for seed in SEEDS:
        for name, recipe in [
            ("lenet300", _LENET300.format(teacher=teacher)),
            *(("lenet5", _LENET5.format(*shape, teacher=teacher)) for shape in SHAPES.values()),
        ]:
            run = _trained(name, NETWORKS[name], seed, data_dir)
            rows.append({"seed": seed, "network": name, **_compressed(run, recipe, FLOAT32[name])})
            print(rows[-1], file=sys.stderr, flush=True)
        for first, second, units in (*SHAPES.values(), (8, 18, 24)):
            shape = (f"filters={first},{second}", f"units={units}", "dropout=0")
            name = f"scratch-{first}-{second}-{units}"
            run = _trained(name, ("lenet5", 2, SCRATCH_EPOCHS, shape), seed, data_dir)
            row = _compressed(run, "int8(per_tensor=true)", FLOAT32["lenet5"])
            rows.append({"seed": seed, "network": f"{first}, {second} and {units} from scratch", **row})
            print(rows[-1], file=sys.stderr, flush=True)
    result = {"rows": rows}
    _keep(rows)
    return result


def _trained(name: str, how: tuple[str, int, int, tuple[str, ...]], seed: int, data_dir: Path) -> Path:
    """Train a network, if it is not there yet, and return its run folder."""
    model, shift, epochs, settings = how
    run = RUNS / f"{name}-{seed}"
    if not (run / "metrics.json").is_file():
        words = ["--model", model, "--dataset", "mnist", "--data-dir", str(data_dir), "--seed", str(seed)]
        words += ["--shift", str(shift), "--epochs", str(epochs), "--batch-size", "128", "--learning-rate", "2e-3"]
        run_command("zoo.train", *words, *(w for s in settings for w in ("--set", s)), "--output", str(run))
    return run


def _compressed(run: Path, recipe: str, float32: int) -> dict[str, Any]:
    """Compress a run, and compare the file with so many bytes of float32 weights."""
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


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, and draw it."""
    lines = [
        "| file | error, each seed | mean | bytes | times | gzip | times |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in result["rows"]:
        groups.setdefault((row["network"], row["recipe"]), []).append(row)
    numbers = {recipe: i for i, recipe in enumerate(dict.fromkeys(recipe for _, recipe in groups), 1)}
    for (network, recipe), rows in groups.items():
        size, zipped = (statistics.mean(r[key] for r in rows) for key in ("bytes", "gzip_bytes"))
        errors = ", ".join(f"{row['error']:.2%}" for row in rows)
        lines.append(
            f"| {network} ({numbers[recipe]}) | {errors} |"
            f" {statistics.mean(r['error'] for r in rows):.2%} | {size:,.0f} |"
            f" {statistics.mean(r['times'] for r in rows):.1f} | {zipped:,.0f} |"
            f" {statistics.mean(r['times_gzip'] for r in rows):.1f} |"
        )
    return "\n".join([*lines, "", *(f"{number}. `{recipe}`" for recipe, number in numbers.items())])
