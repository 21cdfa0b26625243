"""Sensitivity of a model to quantization, layer by layer.

It is measured on validation examples, never on the test split, because `compress --skip-worst` selects layers by it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.recipes.language import Kernel, Recipe
from compression.recipes.options import Calibration, ExportOptions
from zoo.console.errors import UsageError
from zoo.console.figures import ERRORS, form_of
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
    """Quantize every layer alone, and measure how much that changes the outputs and the score.

    Args:
        model: Built keras.Model. Of a classifier of the zoo it gives logits.
        data: zoo.data.Dataset of the model.
        recipe: Precision without skipped layers.
        kernel: Form of recurrent layers.
        seed: Random seed for the choice of up to EXAMPLES validation examples (training examples if there are none).
        say: Function that is called with a sentence for each layer.

    Returns:
        Rows of layer, the most important score by its name, SCORE_loss (by how much it is worse than that of Keras),
        mean_difference and largest_difference from the outputs of Keras, over all outputs, and bytes. Without labels
        there is no score. The first row is for all layers together, then the most sensitive layer comes first.

    Raises:
        UsageError: The recipe cannot be exported for this model, or the data do not fit it.
    """
    from compression.exporting import tflite

    original, form = _form(model, data, kernel)
    kernel = tflite.check(original, recipe, form.interface, kernel)
    split = data.validation if len(data.validation) else data.train
    subject = form.subject_on(original, form.chosen(split, EXAMPLES, seed))
    expected = subject.reference()
    scores = subject.graded(expected)
    calibration = form.calibration(Calibration().examples, seed)
    layers, rows = tflite.layer_paths(original), []
    with temporary.folder() as folder:
        files = {}
        for number, layer in enumerate([EVERY_LAYER, *layers]):
            others = () if layer == EVERY_LAYER else tuple(other for other in layers if other != layer)
            files[folder / f"{number}.tflite"] = dataclasses.replace(recipe, skip=others)
        say(f"quantizing each of {len(layers)} layers alone")
        ways = {"calibration": calibration, "kernel": kernel, "probabilities": form.softmax}
        tflite.export_each(original, files, form.interface, **ways)
        for number, (layer, file) in enumerate(zip([EVERY_LAYER, *layers], files, strict=True)):
            say(f"measuring {number} of {len(layers)}: {layer}")
            found = subject.outputs(file)
            differences = [abs(mine - theirs).ravel() for mine, theirs in zip(found, expected, strict=True)]
            rows.append(
                {
                    "layer": layer,
                    **_worsened(subject.graded(found), scores),
                    "mean_difference": float(sum(each.mean() for each in differences) / len(differences)),
                    "largest_difference": float(max(each.max() for each in differences)),
                    "bytes": file.stat().st_size,
                }
            )
    return [rows[0], *sorted(rows[1:], key=lambda row: -row["mean_difference"])]


def _form(model: Any, data: Any, kernel: Kernel) -> tuple[Any, Any]:
    """Return the model that becomes a file, in float32, and its form."""
    from compression import tasks
    from compression.tasks.base import Export

    kind = tasks.of(data.spec.task)
    original = kind.exported(model, data)
    return original, kind.build(Export(model, original, data, ExportOptions(kernel=kernel)))


def score_of(row: Mapping[str, Any]) -> str | None:
    """Return the name of the score in a row of `measure`; None if there is none."""
    return next((name.removesuffix("_loss") for name in row if name.endswith("_loss")), None)


def _worsened(found: Mapping[str, float], expected: Mapping[str, float]) -> dict[str, float]:
    """Return the most important score of a file, and by how much it is worse than that of Keras."""
    if not found:
        return {}
    name = next(iter(found))
    worse = found[name] - expected[name] if name.rpartition(".")[2] in ERRORS else expected[name] - found[name]
    return {name: found[name], f"{name}_loss": worse}


def loses(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether quantizing all layers together, and the first row's layer alone, worsens the score.

    Without a score, it is assumed.
    """
    score = score_of(rows[0])
    together = next((row for row in rows if row["layer"] == EVERY_LAYER), rows[0])
    worst = next((row for row in rows if row["layer"] != EVERY_LAYER), rows[0])
    return not score or (together[f"{score}_loss"] > 0 and worst[f"{score}_loss"] > 0)


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
        model: Built keras.Model, see `measure`.
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
    """Plot the change of the outputs and the loss of the score for every layer."""
    from matplotlib.figure import Figure

    names, score = [row["layer"] for row in rows][::-1], score_of(rows[0])
    figure = Figure(figsize=(9, 1.4 + 0.34 * len(rows)), layout="constrained")
    left, *others = figure.subplots(1, 2 if score else 1, sharey=True, squeeze=False)[0]
    colours = ["#2463c5" if name != EVERY_LAYER else "#6b7785" for name in names]
    left.barh(names, [row["mean_difference"] for row in rows][::-1], color=colours)
    left.set_xlabel("mean difference from Keras")
    for right in others:
        scale, words = in_words(score)
        right.barh(names, [row[f"{score}_loss"] * scale for row in rows][::-1], color=colours)
        right.axvline(0, color="#64707d", linewidth=0.8)
        right.set_xlabel(words)
    for axes in (left, *others):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e3e7ec")
        axes.set_axisbelow(True)
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def in_words(score: str) -> tuple[float, str]:
    """Return the factor with which the loss of a score is shown, and what it is called."""
    before, dot, plain = score.rpartition(".")
    title, form = form_of(plain)
    of = f"{before}{' ' * bool(dot)}{title}"
    if plain in ERRORS:
        return 1.0, f"rise of {of}"
    return (100.0, f"loss of {of}, percentage points") if form.endswith("%") else (1.0, f"loss of {of}")
