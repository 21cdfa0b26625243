"""How accurate a classifier stays on examples that an attack has changed: the examples, the table, the picture."""

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
    """Return at most `count` examples at random, as a model takes them, in the order of the split."""
    indices = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    found = split.take(indices)
    return Split(scaled(found.x), found.y)


def worst(
    model: keras.Model, spec: DataSpec, examples: Split, attack: Attack, *, restarts: int = 1, seed: int = 0
) -> Split:
    """Return of each example the worst that was found for the model: itself, or what a restart of the attack came to.

    Args:
        model: built, gives logits.
        spec: of the data.
        examples: as the model takes them, one label each.
        attack: which changes are looked for.
        restarts: how often, each from another random start.
        seed: of the starts.
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
    """Return the largest logit of another class less the true one's, (examples,): above 0 the answer is wrong."""
    logits = logits_of(model, examples)
    true = np.eye(logits.shape[-1], dtype=bool)[examples.y]
    return np.where(true, -np.inf, logits).max(-1) - logits[true]


def accuracy(outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the share of right answers: outputs (examples, classes), class indices (examples,)."""
    return float((outputs.argmax(-1) == y).mean())


def write_table(path: Path, eps: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Write a csv: a row for each eps, a column of accuracies for each model or file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["eps", *curves])
    writer.writerows(zip(eps, *curves.values(), strict=True))
    write_text(path, text.getvalue())


def draw(path: Path, title: str, eps: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Write a PNG of accuracy against eps, a line for each model or file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(curves.items()):
        # Lines that lie on each other stay visible: later ones are thinner, on top.
        axes.plot(eps, [100 * v for v in values], "o-", label=name, linewidth=max(4 - i, 1.2), markersize=max(7 - i, 3))
    axes.set_ylim(-3, 103)
    axes.set_xlabel("eps: the most that a number of an input is changed by")
    axes.set_ylabel("accuracy, %")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def title(result: Mapping[str, Any]) -> str:
    """Return what was done, in one line."""
    how = (
        f"PGD, {_many(result['steps'], 'step')}, {_many(result['restarts'], 'start')}" if "steps" in result else "FGSM"
    )
    return f"{how}, on {result['examples']:,} test examples of {result['data']}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


def show_table(result: Mapping[str, Any]) -> None:
    """Print a row for each eps, with the accuracy of each model or file."""
    rows = zip(result["eps"], *result["accuracy"].values(), strict=True)
    cli.table(["eps", *result["accuracy"]], [[f"{eps:g}", *(f"{value:.2%}" for value in row)] for eps, *row in rows])
