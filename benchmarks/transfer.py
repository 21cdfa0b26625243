"""Transfer learning with few labels: a cnn initialised from one trained on digits, compared with training from scratch.

There are two tasks with 10 labels per class. The 26 capital letters (benchmarks/letters.py, with disjoint typefaces for
training and test) start from all digits of MNIST; the digits 5 to 9 start from the digits 0 to 4. Each task has five
draws of labels with one test set. A draw has its own seed, shared by both ways of training. Both ways have the same
epochs, batches, shifts and dropout. Each uses the best of three learning rates on the validation images of a sixth draw
(for letters, in the typefaces of training). Runs are kept under runs/transfer.
"""

import shlex
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import letters
from benchmarks.commands import told

RUNS = Path("runs") / "transfer"
DRAWS, LABELS = 5, 10
# Minimum gain of `--init-from` over training from scratch on letters, in points of accuracy, mean of the draws.
LEAST = 5
_CNN = ("--model", "cnn", "--set", "dropout=0.3")
SOURCE = (*_CNN, "--epochs", "2", "--batch-size", "128", "--learning-rate", "3e-3")
_FEW = (*_CNN, "--batch-size", "10", "--shift", "2", "--validation-split", "0", "--keep", "last")
# By task: the run to initialise from, and the number of epochs.
TASKS = {"letters": ("digits", 20), "digits 5 to 9": ("digits-0-4", 40)}
WAYS = {
    "from scratch": (),
    "`--init-from --new-head`": ("--init-from", "{source}", "--new-head"),
}
RATES = ("1e-3", "3e-3", "1e-2")


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each task and way of training, with the accuracy of every draw.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    _write_data(data_dir)
    sources = [
        _trained("digits", (*SOURCE, "--dataset", "mnist"), "--data-dir", str(data_dir)),
        _trained("digits-0-4", (*SOURCE, "--data", str(RUNS / "0-4.npz"))),
    ]
    return {"sources": sources, "rows": [_row(task, way) for task in TASKS for way in WAYS]}


def _row(task: str, way: str) -> dict[str, Any]:
    source, epochs = TASKS[task]
    words = [*_FEW, "--epochs", str(epochs), *(word.format(source=RUNS / source) for word in WAYS[way])]

    def reached(draw: int, rate: str) -> dict[str, Any]:
        name = _file(task, draw)
        run = f"{name.stem}-{list(WAYS).index(way)}-{rate}"
        return _trained(run, (*words, "--learning-rate", rate, "--data", str(name), "--seed", str(draw)))

    # The sixth draw has validation images as its test split.
    chosen = {rate: reached(DRAWS, rate)["accuracy"] for rate in RATES}
    rate = max(chosen, key=chosen.get)
    rows = [reached(draw, rate) for draw in range(DRAWS)]
    return told(
        {
            "task": task,
            "way": way,
            "validation": chosen,
            "learning_rate": rate,
            "accuracies": [row["accuracy"] for row in rows],
            "examples": rows[0]["examples"],
            "command": rows[0]["command"],
        }
    )


def _trained(name: str, words: tuple[str, ...], *place: str) -> dict[str, Any]:
    """Train a run in this process unless it exists, and return its command and accuracy.

    Args:
        name: Name of the run folder.
        words: Arguments of `zoo.train`.
        place: Further arguments that depend on this machine, left out of the returned command.
    """
    from zoo import train
    from zoo.console import cli
    from zoo.runs.folder import RunFolder
    from zoo.sizing import adaptation

    run = RunFolder(RUNS / name)
    if not run.finished:
        further = ["--resume"] if run.path.is_dir() else []
        options = [*words, *place, *further, "--output", str(run.path)]
        given = cli.parse(adaptation.Options, options, prog="", description="")
        train.run({key: value for key, value in given.items() if key not in cli.FRAME})
    test = run.read_metrics()["test"]
    return {"command": f"python -m zoo.train {shlex.join(words)}", **{k: test[k] for k in ("accuracy", "examples")}}


def _file(task: str, draw: int) -> Path:
    return RUNS / f"{task.replace(' ', '-')}-{draw}.npz"


def _write_data(data_dir: Path) -> None:
    """Write the draws of both tasks, and the dataset of the digits 0 to 4."""
    from zoo.config.train_config import TrainConfig
    from zoo.training.data import load_data

    RUNS.mkdir(parents=True, exist_ok=True)
    mnist = load_data(TrainConfig(dataset="mnist", data_dir=data_dir))
    train, validation, test = ((split.x, split.y) for split in (mnist.train, mnist.validation, mnist.test))
    low = {name: _of(split, range(5)) for name, split in (("train", train), ("test", test))}
    _save(RUNS / "0-4.npz", [str(digit) for digit in range(5)], **low)
    pools = {
        "letters": (letters.drawn(letters.TRAINED, 100, 1), letters.drawn(letters.TRAINED, 50, 2))
        + (letters.drawn(letters.TESTED, 100, 3), list(letters.LETTERS)),
        "digits 5 to 9": (*(_of(split, range(5, 10)) for split in (train, validation, test)), list("56789")),
    }
    for task, (pool, held_out, tested, names) in pools.items():
        for draw in range(DRAWS + 1):
            _save(_file(task, draw), names, train=_few(pool, draw), test=tested if draw < DRAWS else held_out)


def _of(split: tuple[np.ndarray, np.ndarray], digits: range) -> tuple[np.ndarray, np.ndarray]:
    """Return the examples of a range of digits, with labels from 0."""
    x, y = split
    kept = np.isin(y, digits)
    return x[kept], y[kept] - digits.start


def _few(split: tuple[np.ndarray, np.ndarray], draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Return LABELS random examples of each class for a draw."""
    x, y = split
    order = np.random.default_rng(draw).permutation(len(y))
    chosen = np.concatenate([order[y[order] == label][:LABELS] for label in np.unique(y)])
    return x[chosen], y[chosen]


def _save(path: Path, names: list[str], **splits: tuple[np.ndarray, np.ndarray]) -> None:
    arrays = {f"{part}_{name}": array for name, pair in splits.items() for part, array in zip("xy", pair, strict=True)}
    np.savez_compressed(path, class_names=np.array(names), **arrays)


def points(result: dict[str, Any], task: str, way: str) -> list[float]:
    """Return the gain over training from scratch in points of accuracy, by draw.

    Args:
        result: Result of `measure`.
        task: Name of the task.
        way: Way of training.
    """
    found = {row["way"]: row["accuracies"] for row in result["rows"] if row["task"] == task}
    return [100 * (ours - theirs) for ours, theirs in zip(found[way], found["from scratch"], strict=True)]


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        f"| cnn, {LABELS} labels per class | training | test accuracy, mean of {DRAWS} draws | standard deviation |"
        " gain, points | learning rate |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        found, gained = row["accuracies"], points(result, row["task"], row["way"])
        mean, spread = statistics.mean(found), statistics.stdev(found)
        least = f"{statistics.mean(gained):+.1f} ({min(gained):+.1f} to {max(gained):+.1f})" if any(gained) else ""
        lines.append(
            f"| {row['task']} ({row['examples']:,} test images) | {row['way']} | {mean:.2%} | {spread:.2%} | {least} |"
            f" {row['learning_rate']} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, followed by the commands."""
    target = f"Target on letters: a gain of {LEAST} points over training from scratch, mean of {DRAWS} draws."
    commands = [f"- `{row['command']}`" for row in [*result["sources"], *result["rows"]]]
    return "\n".join([*table(result), "", target, "", *commands])
