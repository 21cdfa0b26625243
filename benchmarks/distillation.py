"""`small` taught by `large` on MNIST, against `small` alone: test accuracy of five seeds each.

`small` alone is trained for as many epochs in all as the taught one, whose recipe continues from it: its first half,
then either the same half again with labels, or with the teacher. The last column is `small` before any training of its
own, with the most important units of the trained `large`. Runs are kept under runs/distillation.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.tutorial import run_command

RUNS = Path("runs") / "distillation"
SEEDS = (0, 1, 2, 3, 4)
EPOCHS = 5
TAUGHT = "distill({teacher}, temperature=4, alpha=0.1, epochs={epochs}) + float32"


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the accuracies of every seed."""
    rows = []
    for seed in SEEDS:
        large, first, alone = (_trained(name, seed, epochs, data_dir) for name, epochs in _TRAINED)
        recipe = TAUGHT.format(teacher=RUNS / f"large-{seed}", epochs=EPOCHS)
        taught = run_command("compression.compress", str(RUNS / f"small-{EPOCHS}-{seed}"), "--recipe", recipe)
        rows.append(
            {
                "seed": seed,
                "large": large,
                "small_first": first,
                "small_alone": alone,
                "taught": taught["test"]["litert"]["accuracy"],
                "from_units": _from_units(seed, data_dir),
                "untrained": _untrained(seed, data_dir),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return {"rows": rows, "epochs": EPOCHS}


_TRAINED = (("large", 2 * EPOCHS), ("small", EPOCHS), ("small", 2 * EPOCHS))


def _trained(name: str, seed: int, epochs: int, data_dir: Path) -> float:
    """Train a model, if it is not there yet, and return its test accuracy."""
    from zoo.runs import RunFolder

    run = RunFolder(RUNS / (f"{name}-{epochs}-{seed}" if name == "small" else f"{name}-{seed}"))
    if not run.finished:
        words = ("--model", name, "--dataset", "mnist", "--data-dir", str(data_dir), "--seed", str(seed))
        rate = ("--epochs", str(epochs), "--batch-size", "128", "--learning-rate", "2e-3")
        run_command("zoo.train", *words, *rate, "--output", str(run.path))
    return run.read_metrics()["test"]["accuracy"]


def _from_units(seed: int, data_dir: Path) -> float:
    """Return the accuracy of an untrained `small` that was given units of the trained `large`."""
    student, teacher, data = _models(seed, data_dir)
    from compression.distillation import initialise

    initialise(student, teacher, data.train.x[:8].astype("float32") / 255)
    return _accuracy(student, data)


def _untrained(seed: int, data_dir: Path) -> float:
    student, _, data = _models(seed, data_dir)
    return _accuracy(student, data)


def _models(seed: int, data_dir: Path) -> tuple[Any, Any, Any]:
    from compression import source

    teacher, data = source.open_run(RUNS / f"large-{seed}", {"data_dir": data_dir}).load()
    import keras

    from zoo import registry

    keras.utils.set_random_seed(seed)
    student = registry.model_class("small")(num_classes=10, units=(128,))
    student.build((None, *data.spec.input_shape))
    return student, teacher, data


def _accuracy(model: Any, data: Any) -> float:
    from zoo.inference import logits_of

    return float((logits_of(model, data.test).argmax(-1) == data.test.y).mean())


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    epochs = result["epochs"]
    lines = [
        f"| seed | large, {2 * epochs} epochs | small, {epochs} | alone, {2 * epochs} | taught, {epochs} + {epochs}"
        " | difference, points | units of large, untrained | untrained |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        lines.append(
            f"| {r['seed']} | {r['large']:.2%} | {r['small_first']:.2%} | {r['small_alone']:.2%} | {r['taught']:.2%} |"
            f" {100 * (r['taught'] - r['small_alone']):+.2f} | {r['from_units']:.2%} | {r['untrained']:.2%} |"
        )
    gain = statistics.mean(100 * (r["taught"] - r["small_alone"]) for r in result["rows"])
    return [*lines, "", f"`large` teaches `small`, MNIST: mean gain {gain:+.2f} points."]


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
