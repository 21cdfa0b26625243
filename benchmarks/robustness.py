"""Robustness of a cnn on MNIST, with standard and adversarial training, in Keras and as an int8 file.

2,000 test images are attacked with eps 0.1 (L-infinity norm, pixels from 0 to 1) by FGSM, and by PGD with 40 steps from
one random start. The int8 file is evaluated on the adversarial examples for Keras (transfer); an attack on the file
itself may find worse ones. "All clean" refers to all 10,000 test images. Minutes are those of training and validation.
Runs are kept under runs/robustness.
"""

from pathlib import Path
from typing import Any

from benchmarks.commands import exported, run_command, told, trained

RUNS = Path("runs") / "robustness"
EPS, STEPS, EXAMPLES = 0.1, 40, 2000
_MNIST = ("--model", "cnn", "--dataset", "mnist")
# Arguments of the training, by row name.
ROWS: dict[str, tuple[str, ...]] = {
    "plain": _MNIST,
    "adversarial": (*_MNIST, "--adversarial", "fgsm(0.1)", "--set", "dropout=0", "--keep", "last"),
}
ATTACKS = {"fgsm": (), "pgd": ("--steps", str(STEPS))}
FILE = "int8"
# Targets of adversarial training: accuracy on clean test images, and under PGD.
CLEAN, ATTACKED = 0.988, 0.96


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each training, with the accuracies of Keras and of the file by attack.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    rows = []
    for name, words in ROWS.items():
        run = RUNS / name
        row = {"name": name, **trained(run, words, data_dir, ("epochs", "parameters", "seconds", "test"))}
        row["bytes"] = exported(run, FILE, ("bytes",))["bytes"]
        row["attacks"] = {attack: _attacked(run, attack, more, data_dir) for attack, more in ATTACKS.items()}
        rows.append(told(row))
    return {"rows": rows}


def _attacked(run: Path, attack: str, more: tuple[str, ...], data_dir: Path) -> dict[str, list[float]]:
    """Return the accuracies of Keras and of the file, without and with an attack."""
    words = ("--attack", attack, "--eps", str(EPS), "--examples", str(EXAMPLES), *more, "--data-dir", str(data_dir))
    run_command("zoo.attack", str(run), *words)
    file = str(run / "artifacts" / f"{FILE}.tflite")
    return run_command("compression.attack", str(run), file, "--attack", attack)["accuracy"]


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        f"| cnn on MNIST, attacked with eps {EPS} | all clean | clean | FGSM | PGD, {STEPS} steps |"
        f" {FILE} file: clean | FGSM | PGD | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        cells = [row["test"]["accuracy"]]
        for side in ("keras", FILE):
            cells.append(row["attacks"]["pgd"][side][0])
            cells += [row["attacks"][attack][side][1] for attack in ATTACKS]
        shown = " | ".join(f"{value:.2%}" for value in cells)
        lines.append(f"| {row['name']} training | {shown} | {row['seconds'] / 60:.1f} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    targets = f"Targets of adversarial training: clean {CLEAN:.1%}, PGD {ATTACKED:.0%}."
    return "\n".join([*table(result), "", targets, "", *(f"- `{row['command']}`" for row in result["rows"])])
