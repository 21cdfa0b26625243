"""What quantizing each layer alone costs.

Measured on validation examples, never on the test split, because `compress --skip-worst` chooses by it.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.recipes.language import Kernel, Recipe
from zoo.console.errors import UsageError
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
    """Quantize every layer alone, and return what it costs, the most harmful layer first.

    Args:
        model: a built keras.Model that gives logits.
        data: a zoo.data.Dataset.
        recipe: without layers left out.
        kernel: of recurrent layers.
        seed: of the choice of up to EXAMPLES validation (or else training) examples.
        say: told which layer is measured.

    Returns:
        rows of layer, accuracy, accuracy_loss (against Keras), mean_difference and largest_difference (in
        probability), bytes; first the row of all layers together.
    """
    from compression.exporting import tflite
    from compression.pipeline import pipeline
    from compression.receipts import receipt
    from compression.runtime import litert
    from compression.surgery import copying
    from compression.tasks import classification as classifiers

    model = copying.in_float32(model)
    interface = classifiers.interface_of(data.spec)
    kernel = tflite.check(model, recipe, interface, kernel)
    examples = classifiers.stratified(data.validation if len(data.validation) else data.train, EXAMPLES, seed)
    x = receipt.given(examples, interface)
    subject = receipt.Subject(model, interface, examples)
    expected = receipt.reference(subject, x)
    accuracy = receipt.scores(expected, subject)["accuracy"]
    calibration = receipt.given(classifiers.stratified(data.train, pipeline.CALIBRATION, seed), interface)
    layers, rows = tflite.layer_paths(model), []
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, layer in enumerate([EVERY_LAYER, *layers]):
            others = () if layer == EVERY_LAYER else tuple(other for other in layers if other != layer)
            files[Path(folder) / f"{number}.tflite"] = dataclasses.replace(recipe, skip=others)
        say(f"quantizing each of {len(layers)} layers alone")
        tflite.export_each(model, files, interface, calibration=calibration, kernel=kernel)
        for number, (layer, file) in enumerate(zip([EVERY_LAYER, *layers], files, strict=True)):
            say(f"measuring {number} of {len(layers)}: {layer}")
            found = litert.run(file, x)
            score = receipt.scores(found, subject)["accuracy"]
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


def without_worst(model: Any, data: Any, recipe: Recipe, count: int, **options: Any) -> Recipe:
    """Return the recipe with the `count` layers left in float32 whose quantization changes the output most.

    Args:
        model: as in `measure`, like data, recipe and options.
        count: fewer than the model has layers with kernels.

    Raises:
        UsageError: there are not that many layers.
    """
    from compression.exporting import tflite

    layers = len(tflite.layer_paths(model))
    if count >= layers:
        raise UsageError(f"--skip-worst: expected fewer than the model's {layers} layers, received {count}")
    rows = measure(model, data, recipe, **options)
    worst = [row["layer"] for row in rows if row["layer"] != EVERY_LAYER][:count]
    return dataclasses.replace(recipe, skip=tuple(worst))


def draw(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw the output error and the loss of accuracy of every layer."""
    from matplotlib.figure import Figure

    names = [row["layer"] for row in rows][::-1]
    figure = Figure(figsize=(9, 1.4 + 0.34 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = ["#2463c5" if name != EVERY_LAYER else "#9aa5b1" for name in names]
    left.barh(names, [row["mean_difference"] for row in rows][::-1], color=colours)
    left.set_xlabel("mean difference in probability from Keras")
    right.barh(names, [row["accuracy_loss"] * 100 for row in rows][::-1], color=colours)
    right.axvline(0, color="#64707d", linewidth=0.8)
    right.set_xlabel("accuracy lost, points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e3e7ec")
        axes.set_axisbelow(True)
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
