"""Distillation of `large` into `small` on MNIST compared with training `small` alone, over five seeds of the student.

As in Hinton et al. (2015), section 3, the teacher is trained with dropout and images shifted by up to two pixels. The
student sees unshifted images, and learns to generalise from the teacher's soft targets. All students are trained for
the same total number of epochs. The first is trained alone for half of them and then distilled. The second is distilled
throughout and initialised with the most important units of `large`. The comparison is made for a short training, and
for a long one after which a network of 128 units improves little. The last columns show the untrained `small` with and
without the units of `large`. Runs are kept under runs/distillation.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.commands import run_command

RUNS = Path("runs") / "distillation"
SEEDS = (0, 1, 2, 3, 4)
HALVES = (1, 5)  # epochs of each half
SECOND_HALF = "distill({teacher}, temperature=4, alpha=0.1, epochs={half}) + float32"
FROM_UNITS = "distill({teacher}, temperature=4, alpha=0.1, init=teacher, epochs={whole}) + float32"
TEACHER = ("--epochs", "30", "--shift", "2", "--set", "dropout=0.2", "--learning-rate", "2e-3")
RATE = ("--learning-rate", "5e-3")


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the accuracies of every seed.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    teacher, rows = _trained("large", "large", 0, data_dir, *TEACHER), []
    for epochs in HALVES:
        for seed in SEEDS:
            first, alone = (
                _trained("small", f"small-{many}-of-{epochs}-{seed}", seed, data_dir, "--epochs", str(many), *RATE)
                for many in (epochs, 2 * epochs)
            )
            rows.append(
                {
                    "seed": seed,
                    "epochs": epochs,
                    "large": teacher,
                    "small_first": first,
                    "small_alone": alone,
                    "taught": _taught(SECOND_HALF, epochs, seed),
                    "taught_from_units": _taught(FROM_UNITS, epochs, seed),
                    "from_units": _from_units(seed, data_dir),
                    "untrained": _untrained(seed, data_dir),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows}


def _trained(model: str, name: str, seed: int, data_dir: Path, *more: str) -> float:
    """Train a model unless it exists, and return its test accuracy."""
    from zoo.runs.folder import RunFolder

    run = RunFolder(RUNS / name)
    if not run.finished:
        words = ("--model", model, "--dataset", "mnist", "--data-dir", str(data_dir), "--seed", str(seed))
        again = ("--resume",) if run.started else ()
        run_command("zoo.train", *words, "--batch-size", "128", *more, *again, "--output", str(run.path))
    return run.read_metrics()["test"]["accuracy"]


def _taught(recipe: str, half: int, seed: int) -> float:
    """Apply a recipe to `small` after the first half, and return the accuracy of the file."""
    run = RUNS / f"small-{half}-of-{half}-{seed}"
    made = run_command(
        "compression.compress", str(run), "--recipe", recipe.format(teacher=RUNS / "large", half=half, whole=2 * half)
    )
    return made["test"]["litert"]["accuracy"]


def _from_units(seed: int, data_dir: Path) -> float:
    """Return the accuracy of an untrained `small` initialised with units of the trained `large`."""
    student, teacher, data = _models(seed, data_dir)
    from compression.passes.distillation import initialise

    initialise(student, teacher, data.train.x[:8].astype("float32") / 255)
    return _accuracy(student, data)


def _untrained(seed: int, data_dir: Path) -> float:
    student, _, data = _models(seed, data_dir)
    return _accuracy(student, data)


def _models(seed: int, data_dir: Path) -> tuple[Any, Any, Any]:
    from compression.pipeline import source

    teacher, data = source.open_run(RUNS / "large", {"data_dir": data_dir}).load()
    import keras

    from zoo.config import registry

    keras.utils.set_random_seed(seed)
    student = registry.model_class("small")(num_classes=10, units=(128,))
    student.build((None, *data.spec.input_shape))
    return student, teacher, data


def _accuracy(model: Any, data: Any) -> float:
    from zoo.runs.inference import logits_of

    return float((logits_of(model, data.test).argmax(-1) == data.test.y).mean())


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| epochs | seed | small, first half | alone, both halves | distilled in the second | points | distilled in"
        " both, from units of large | points | these units, untrained | untrained |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        lines.append(
            f"| {r['epochs']} + {r['epochs']} | {r['seed']} | {r['small_first']:.2%} | {r['small_alone']:.2%} |"
            f" {r['taught']:.2%} | {_gain(r, 'taught'):+.2f} | {r['taught_from_units']:.2%} |"
            f" {_gain(r, 'taught_from_units'):+.2f} | {r['from_units']:.2%} | {r['untrained']:.2%} |"
        )
    gains = ", ".join(
        f"{_mean_gain(rows, 'taught'):+.2f} and {_mean_gain(rows, 'taught_from_units'):+.2f} points with {epochs} +"
        f" {epochs} epochs"
        for epochs in dict.fromkeys(r["epochs"] for r in result["rows"])
        if (rows := [r for r in result["rows"] if r["epochs"] == epochs])
    )
    return [*lines, "", f"`large` ({result['rows'][0]['large']:.2%}) teaches `small`, MNIST: mean gains {gains}."]


def _mean_gain(rows: list[dict[str, Any]], way: str) -> float:
    return statistics.mean(_gain(row, way) for row in rows)


def _gain(row: dict[str, Any], way: str) -> float:
    return 100 * (row[way] - row["small_alone"])


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
