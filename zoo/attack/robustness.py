"""Adversarial examples for a classifier, and tables and plots of its accuracy on them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.attacks import Attack
from zoo.console import cli
from zoo.data import DataSpec, Split
from zoo.data.batches.attacked import starts
from zoo.data.batches.steps import generator
from zoo.data.images import scaled
from zoo.runs.inference import BATCH, logits_of
from zoo.system.files import replacing, write_text
from zoo.training.building import attacked


def chosen(split: Split, count: int, seed: int) -> Split:
    """Return up to `count` random examples in the order of the split, scaled as model inputs.

    Args:
        split: Split to choose from.
        count: Maximum number of examples.
        seed: Random seed.
    """
    indices = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    found = split.take(indices)
    return Split(scaled(found.x), found.y)


def worst(
    model: keras.Model, spec: DataSpec, examples: Split, attack: Attack, *, restarts: int = 1, seed: int = 0
) -> Split:
    """Return the worst version of each example for the model: the clean example or the result of one restart.

    Args:
        model: Built model that returns logits.
        spec: Description of the data.
        examples: Examples scaled as model inputs, with one label each.
        attack: Attack to run.
        restarts: Number of restarts, each from a different random start.
        seed: Random seed of the starts.
    """
    attacker = attacked(attack, spec, model)
    found, badness = examples.x.copy(), margins(model, examples)
    for restart in range(restarts):
        start = starts(attack, found.shape, generator(seed, restart))
        made = attacker.predict((examples.x, examples.y, start), batch_size=BATCH, verbose=0)
        other = margins(model, Split(made, examples.y))
        found[other > badness] = made[other > badness]
        badness = np.maximum(badness, other)
    return Split(found, examples.y)


def margins(model: keras.Model, examples: Split) -> np.ndarray:
    """Return the largest logit of a wrong class minus that of the true class, (examples,).

    A positive margin means that the example is misclassified.

    Args:
        model: Built model that returns logits.
        examples: Examples scaled as model inputs, with one label each.
    """
    logits = logits_of(model, examples)
    true = np.eye(logits.shape[-1], dtype=bool)[examples.y]
    return np.where(true, -np.inf, logits).max(-1) - logits[true]


def accuracy(outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the accuracy of outputs, (examples, classes), for class indices, (examples,)."""
    return float((outputs.argmax(-1) == y).mean())


def write_table(path: Path, eps: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Write a CSV file with one row for each eps and one column of accuracies for each model or file.

    Args:
        path: File to write.
        eps: Maximum changes of an input value.
        curves: Accuracies for each eps, by name of the model or file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["eps", *curves])
    writer.writerows(zip(eps, *curves.values(), strict=True))
    write_text(path, text.getvalue())


def draw(path: Path, title: str, eps: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Write a PNG that plots accuracy against eps, with one line for each model or file.

    Args:
        path: File to write.
        title: Title of the plot.
        eps: Maximum changes of an input value.
        curves: Accuracies for each eps, by name of the model or file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(curves.items()):
        # Later lines are thinner, so that overlapping lines stay visible.
        axes.plot(eps, [100 * v for v in values], "o-", label=name, linewidth=max(4 - i, 1.2), markersize=max(7 - i, 3))
    axes.set_ylim(-3, 103)
    axes.set_xlabel("eps: maximum change of an input value")
    axes.set_ylabel("accuracy, %")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def title(result: Mapping[str, Any]) -> str:
    """Return a one-line description of an attack: method, steps, restarts, examples and data."""
    how = (
        f"PGD, {_many(result['steps'], 'step')}, {_many(result['restarts'], 'start')}" if "steps" in result else "FGSM"
    )
    return f"{how}, on {result['examples']:,} test examples of {result['data']}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


def show_table(result: Mapping[str, Any]) -> None:
    """Print one row for each eps with the accuracy of each model or file."""
    rows = zip(result["eps"], *result["accuracy"].values(), strict=True)
    cli.table(["eps", *result["accuracy"]], [[f"{eps:g}", *(f"{value:.2%}" for value in row)] for eps, *row in rows])
