"""Answers of a model of one's own to images and arrays: its classes, or the numbers that it gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config.task_facts import USUAL_FIT, Fit
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, images
from zoo.data.dataset import leaves
from zoo.data.sources import structures
from zoo.guests.model import NO_RANGE, OpenedModel
from zoo.runs.inference import probabilities
from zoo.tasks.base import ranked
from zoo.tasks.own_model import guessed, of_model, outputs_of
from zoo.tasks.parts.outputs import Output


def of_files(
    opened: OpenedModel, inputs: Sequence[str], *, top: int = 1, labels: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the answers of a model to files.

    Args:
        opened: Model, with data that tell what its outputs mean if there are any.
        inputs: Images, which are resized to the input of the model, and .npz files with x, or x.NAME for each input.
        top: Number of classes to list for each example.
        labels: Names of the classes, in the order of the class indices; default, those of the data, or the indices.

    Returns:
        For each example and output a row with input, and the output's name if there are several. Classes have label and
        probability, and top if more than one is asked for; other outputs have values, a list of numbers.

    Raises:
        UsageError: An input that cannot be read or that the model does not take, or names that do not fit its classes.
    """
    model, data = _loaded(opened)
    rows = []
    for text in inputs:
        path = Path(text)
        if path.suffix.lower() == ".npz":
            x = structures.read_inputs(path)
            names: list[Any] = [f"{text}[{i}]" for i in range(len(leaves(x)[0]))]
        else:
            x, names = _image(model, path, data.spec.fit if data else USUAL_FIT), [text]
        rows += _answers(model, data, names, x, _range(opened, data, x), top, labels)
    return rows


def of_arrays(
    opened: OpenedModel, x: Any, *, top: int = 1, labels: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the answers of a model to arrays, which it takes as they are; see `of_files`.

    Args:
        opened: Model, with data that tell what its outputs mean if there are any.
        x: Examples, an array or a structure of arrays. Bytes are given to the model as `predict` gives them, unless a
            range of pixels is known.
        top: Number of classes to list for each example.
        labels: Names of the classes.

    Raises:
        UsageError: The model does not take such arrays, or names that do not fit its classes.
    """
    model, data = _loaded(opened)
    x = structures.inputs("inputs", x)
    known = opened.input_range or (data.spec.pixel_range if data else structures.AS_GIVEN)
    return _answers(model, data, list(range(len(leaves(x)[0]))), x, known, top, labels)


def _loaded(opened: OpenedModel) -> tuple[keras.Model, Dataset | None]:
    return opened.load() if opened.has_data else (opened.load_model(), None)


def _image(model: keras.Model, path: Path, fit: Fit) -> np.ndarray:
    """Return an image as a batch of one, in the size that the model takes."""
    shape = tuple(getattr(model, "input_shape", None) or ())
    if len(shape) != 4 or shape[3] not in (1, 3):
        what = f"inputs of shape {shape[1:]}" if shape else "inputs of a shape that it does not tell"
        raise UsageError(f"INPUT {path}: this model takes {what}, which come in an .npz file with an array x")
    size = None if None in shape[1:3] else shape[1:3]
    try:
        return images.decode(path, size, shape[3], fit)[None]
    except images.Unreadable as error:
        raise UsageError(f"INPUT {path}: expected an image or an .npz file, and it cannot be read: {error}") from None


def _range(opened: OpenedModel, data: Dataset | None, x: Any) -> tuple[float, float]:
    """Return the range of pixels of images of bytes, which must be known.

    Raises:
        UsageError: Neither the options nor the data tell it.
    """
    if opened.input_range is not None:
        return opened.input_range
    if not any(array.dtype == np.uint8 for array in leaves(x)):
        return structures.AS_GIVEN  # not used
    if data is None or not any(array.dtype == np.uint8 for array in leaves(data.test.x)):
        raise UsageError(NO_RANGE)
    return data.spec.pixel_range


def _answers(
    model: keras.Model,
    data: Dataset | None,
    names: Sequence[Any],
    x: Any,
    pixel_range: tuple[float, float],
    top: int,
    labels: Sequence[str] | None,
) -> list[dict[str, Any]]:
    spec = DataSpec("inputs", "arrays", (), (), pixel_range=pixel_range)
    means = guessed(model, x, spec, labels or ())
    if data is not None and leaves(data.test.y):
        means = of_model(model, data).outputs
    _check_asked(means, top, labels)
    known = labels or (data.spec.class_names if data is not None and len(means) == 1 else ())
    values = outputs_of(model, x, spec)
    several = len(means) > 1
    columns = [_rows(output, value, known, top) for output, value in zip(means, values, strict=True)]
    return [
        {"input": name, **({"output": output.name} if several else {}), **column[i]}
        for i, name in enumerate(names)
        for output, column in zip(means, columns, strict=True)
    ]


def _check_asked(means: Sequence[Output], top: int, labels: Sequence[str] | None) -> None:
    """Raise UsageError for names, or a number of answers, of classes that no output gives."""
    kinds = {output.kind for output in means}
    if labels and not kinds & {"classes", "binary"}:
        raise UsageError(f"--labels {','.join(labels)}: expected a model that gives classes, this one gives numbers")
    if top > 1 and "classes" not in kinds:
        gives = "no or yes" if "binary" in kinds else "numbers"
        raise UsageError(f"--top {top}: expected 1 for a model that gives {gives}, which has no classes to rank")


def _rows(output: Output, values: np.ndarray, names: Sequence[str], top: int) -> list[dict[str, Any]]:
    """Return label and probability of each example, or its values."""
    if output.kind == "classes" and values.ndim in (2, 3):
        known = _names(names, values.shape[-1])
        shares = values.astype(np.float64) if output.probabilities else probabilities(values)
        return [ranked(row, known, top) for row in shares]
    if output.kind == "binary":
        yes = values.reshape(-1).astype(np.float64)
        yes = yes if output.probabilities else 1 / (1 + np.exp(-yes))
        known = _names(names, 2)
        return [{"label": known[int(p > 0.5)], "probability": float(max(p, 1 - p))} for p in yes]
    return [{"values": np.asarray(row, np.float64).tolist()} for row in values]


def _names(given: Sequence[str], count: int) -> Sequence[str]:
    """Return a name for each class, by default its index."""
    known = given or [str(i) for i in range(count)]
    if len(known) != count:
        raise UsageError(
            f"--labels: expected a name for each of {count} classes that the model tells apart, received {len(known)}"
        )
    return known
