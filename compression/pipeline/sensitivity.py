"""Sensitivity of a classifier to quantization, layer by layer.

It is measured on validation examples, never on the test split, because `compress --skip-worst` selects layers by it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.recipes.language import Kernel, Recipe
from compression.recipes.options import Calibration
from zoo.console.errors import UsageError
from zoo.system import temporary
from zoo.system.files import replacing

EXAMPLES = 1000
EVERY_LAYER = "every layer"


def measure(
    model: Any,
    data: Any,
    recipe: Recipe,
    *,
    kernel: Kernel = "auto",
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Quantize every layer alone, and measure how much accuracy that costs.

    Args:
        model: Built keras.Model that gives logits.
        data: zoo.data.Dataset of the model.
        recipe: Precision without skipped layers.
        kernel: Form of recurrent layers.
        seed: Random seed for the choice of up to EXAMPLES validation examples (training examples if there are none).
        say: Function that is called with a sentence for each layer.

    Returns:
        Rows of layer, accuracy, accuracy_loss (against Keras), mean_difference and largest_difference (in
        probability) and bytes. The first row is for all layers together, then the most sensitive layer comes first.
    """
    from compression.exporting import tflite
    from compression.receipts.subject import given, reference
    from compression.runtime import litert
    from compression.surgery import copying
    from compression.tasks import classification

    model = copying.in_float32(model)
    interface = classification.interface_of(data.spec)
    kernel = tflite.check(model, recipe, interface, kernel)
    examples = classification.stratified(data.validation if len(data.validation) else data.train, EXAMPLES, seed)
    x = given(examples, interface)
    subject = classification.ClassSubject(model, interface, examples)
    expected = reference(subject, x)
    accuracy = subject.scores(expected)["accuracy"]
    calibration = given(classification.stratified(data.train, Calibration().examples, seed), interface)
    layers, rows = tflite.layer_paths(model), []
    with temporary.folder() as folder:
        files = {}
        for number, layer in enumerate([EVERY_LAYER, *layers]):
            others = () if layer == EVERY_LAYER else tuple(other for other in layers if other != layer)
            files[folder / f"{number}.tflite"] = dataclasses.replace(recipe, skip=others)
        say(f"quantizing each of {len(layers)} layers alone")
        tflite.export_each(model, files, interface, calibration=calibration, kernel=kernel)
        for number, (layer, file) in enumerate(zip([EVERY_LAYER, *layers], files, strict=True)):
            say(f"measuring {number} of {len(layers)}: {layer}")
            found = litert.run(file, x)
            score = subject.scores(found)["accuracy"]
            difference = abs(found - expected)
            rows.append(
                {
                    "layer": layer,
                    "accuracy": score,
                    "accuracy_loss": accuracy - score,
                    "mean_difference": float(difference.mean()),
                    "largest_difference": float(difference.max()),
                    "bytes": file.stat().st_size,
                }
            )
    return [rows[0], *sorted(rows[1:], key=lambda row: -row["mean_difference"])]


def without_worst(
    model: Any,
    data: Any,
    recipe: Recipe,
    count: int,
    *,
    kernel: Kernel = "auto",
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Recipe:
    """Return the recipe with the `count` most sensitive layers left in float32.

    Args:
        model: Built keras.Model that gives logits.
        data: zoo.data.Dataset of the model.
        recipe: Precision without skipped layers.
        count: Number of layers, fewer than the model has layers with kernels.
        kernel: Form of recurrent layers.
        seed: Random seed for the choice of examples.
        say: Function that is called with a sentence for each layer.

    Raises:
        UsageError: The model has too few layers.
    """
    from compression.exporting import tflite

    layers = len(tflite.layer_paths(model))
    if count >= layers:
        raise UsageError(f"--skip-worst: expected fewer than the model's {layers} layers, received {count}")
    rows = measure(model, data, recipe, kernel=kernel, seed=seed, say=say)
    worst = [row["layer"] for row in rows if row["layer"] != EVERY_LAYER][:count]
    return dataclasses.replace(recipe, skip=tuple(worst))


def draw(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Plot the change of the output and the loss of accuracy for every layer."""
    from matplotlib.figure import Figure

    names = [row["layer"] for row in rows][::-1]
    figure = Figure(figsize=(9, 1.4 + 0.34 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = ["#2463c5" if name != EVERY_LAYER else "#9aa5b1" for name in names]
    left.barh(names, [row["mean_difference"] for row in rows][::-1], color=colours)
    left.set_xlabel("mean difference in probability from Keras")
    right.barh(names, [row["accuracy_loss"] * 100 for row in rows][::-1], color=colours)
    right.axvline(0, color="#64707d", linewidth=0.8)
    right.set_xlabel("loss of accuracy, percentage points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e3e7ec")
        axes.set_axisbelow(True)
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
