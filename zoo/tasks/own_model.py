"""A model of one's own, with any inputs and outputs, which a recipe trains further."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.console.figures import Intervals, form_of, tiles, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.augmentation import augmenter
from zoo.data.batches import pipeline as batches
from zoo.data.dataset import leaves, mapped
from zoo.data.images import scaled
from zoo.reports.page import Page
from zoo.runs.inference import BATCH
from zoo.tasks import base
from zoo.tasks.base import Task
from zoo.tasks.parts.outputs import Output, guess, meanings

# Input values of a batch of `predict`: 55 images of 224x224, whose activations may take 50 times as much.
MOST_NUMBERS = 2**23
FEW = 8  # examples on which the model is called to see what it gives


class OwnModel(Task):
    """What a model of one's own was trained for.

    Args:
        outputs: What each output means.
        compiled: Loss, and weights of losses, that the user's model was compiled with, as keyword arguments of
            `compile`; empty if it was not compiled, and each output has its usual loss.
        given: Symbolic inputs of the model in the structure that it takes; None if the model is not known.
        override: Name of the method by which the model's class trains in a way of its own; see `overridden`.
    """

    name = "own_model"

    def __init__(
        self,
        outputs: Sequence[Output] = (),
        compiled: dict[str, Any] | None = None,
        given: Any = None,
        override: str = "",
    ):
        self.outputs, self.compiled, self.given = tuple(outputs), dict(compiled or {}), given
        self.override = override

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return dict(config.settings)

    def inputs(self, model: keras.Model, spec: DataSpec) -> Any:
        return super().inputs(model, spec) if self.given is None else self.given

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        if self.compiled:
            return self.compiled
        losses = [output.loss() for output in self.outputs]
        return {"loss": losses[0] if len(losses) == 1 else losses}

    def check(self, config: TrainConfig, data: Dataset) -> None:
        if self.override:
            raise UsageError(
                "--recipe: expected a model that trains by its compiled loss, received one with a"
                f" {self.override} of its own, which recipes do not follow; give data without labels and distill, which"
                " learns from the model's outputs alone, or a precision alone"
            )
        placed = [labels.shape[1:] for labels in leaves(data.train.y) if labels.ndim > 2]
        if config.augmentation and placed:
            raise UsageError(
                f"{config.augmented_by}: expected one label for each image, received labels of shape {placed[0]}, which"
                " would not move with the images"
            )

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        options |= {"augment": augmenter.of(config, 0), "pixel_range": data.spec.pixel_range}
        return batches.training_batches(data.train, **options)

    def gathered(self, config: TrainConfig, data: Dataset, batch_size: int) -> batches.Gathered | None:
        if config.augmentation:
            return None
        options = {"batch_size": batch_size, "seed": config.seed, "pixel_range": data.spec.pixel_range}
        return batches.gathered(data.train, **options)

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        options = {"batch_size": BATCH, "stride": stride, "pixel_range": data.spec.pixel_range}
        return batches.evaluation_batches(data.validation, **options)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row.get("val_loss", row["loss"]),)

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples = data.split(split)
        found = outputs_of(model, examples.x, data.spec)
        scores = self.scores(found, examples.y)
        return {**scores, "examples": len(examples)}, {"intervals": self.intervals(scores, found, examples.y)}

    def scores(self, outputs: Sequence[np.ndarray], y: Any) -> dict[str, float]:
        """Return the scores of all outputs by name, with the output's name before it if there are several."""
        found = {}
        for output, values, labels in zip(self.outputs, outputs, leaves(y), strict=False):
            before = f"{output.name}." if len(self.outputs) > 1 else ""
            found |= {f"{before}{name}": value for name, value in output.scores(values, labels).items()}
        return found

    def intervals(self, scores: dict[str, float], outputs: Sequence[np.ndarray], y: Any) -> dict[str, Any]:
        """Return the 95 % intervals of those scores that have one."""
        if len(self.outputs) != 1 or not leaves(y):
            return {}
        return self.outputs[0].intervals(scores, outputs[0], leaves(y)[0])

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return Page("a model of one's own", tiles(scores, self.facts.figures, {}), [], (("Loss", "loss"),))

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return f"{told(test, within)}, {test['examples']:,} examples"

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        return DataSpec("example", "arrays", input_shape or base.IMAGE, (), task=self.name)


def without_labels(task: OwnModel, data: Dataset) -> tuple[OwnModel, Dataset]:
    """Return a task without a loss on labels, and data with zeros for them, for a model that a teacher alone teaches.

    Args:
        task: What the model is for.
        data: Data without labels.
    """
    nothing = [_nothing] * len(task.outputs)

    def zeros(split: Split) -> Split:
        y = tuple(np.zeros(len(split), np.int32) for _ in nothing)
        return dataclasses.replace(split, y=y if len(y) > 1 else y[0])

    splits = {name: zeros(getattr(data, name)) for name in ("train", "validation", "test")}
    loss = {"loss": nothing if len(nothing) > 1 else _nothing}
    return OwnModel((), loss, task.given), dataclasses.replace(data, **splits)


def _nothing(y: Any, outputs: Any) -> Any:
    return 0.0 * keras.ops.sum(outputs)


def told(scores: dict[str, Any], within: Intervals) -> str:
    """Return the most important score of each output in one line."""
    best = {}
    for name in scores:
        if name != "examples":
            best.setdefault(name.rpartition(".")[0], name)
    lines = [
        f"{f'{output} ' if output else ''}{form_of(name.rpartition('.')[2])[0]} {_written(scores, name, within)}"
        for output, name in best.items()
    ]
    return ", ".join(lines) or "no labels"


def _written(scores: dict[str, Any], name: str, within: Intervals) -> str:
    plain = name.rpartition(".")[2]
    return written({plain: scores[name]}, plain, {plain: within[name]} if name in within else {})


def outputs_of(model: keras.Model, x: Any, spec: DataSpec) -> list[np.ndarray]:
    """Return the outputs of `predict` for examples, each (examples, ...) float32.

    Args:
        model: Built model.
        x: Examples in the structure that the model takes; images of bytes are brought into the range of the pixels.
        spec: Form of the data.
    """
    numbers = sum(array[0].size for array in leaves(x))
    size = int(np.clip(MOST_NUMBERS // numbers, 1, BATCH))
    parts = []
    for start in range(0, len(leaves(x)[0]), size):
        given = mapped(lambda array, a=start: scaled(array[a : a + size], spec.pixel_range), x)
        parts.append([np.asarray(y, np.float32) for y in leaves(model.predict_on_batch(given))])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def of_model(model: keras.Model, data: Dataset, compiled: dict[str, Any] | None = None) -> OwnModel:
    """Return what a model is for, from what it gives for a few examples, the labels and its loss.

    Args:
        model: Built model.
        data: Its data.
        compiled: What it was compiled with, if another model tells; see `compiled_with`.

    Raises:
        UsageError: The model does not take such inputs, or the labels do not fit its outputs.
    """
    few, compiled = first_of(data), compiled_with(model) if compiled is None else compiled
    outputs = _called(model, few.x, data.spec)
    names, compiled = output_names(model, outputs), _in_order(compiled, model, outputs)
    values, losses = outputs_of(model, few.x, data.spec), _losses(compiled, len(names))
    meant = meanings(names, values, _labels(data), data.spec.class_names, losses)
    one = mapped(lambda array: scaled(array[:1], data.spec.pixel_range), few.x)
    given = mapped(lambda array: keras.KerasTensor(array.shape, str(array.dtype)), one)
    return OwnModel(meant, compiled, given, overridden(model))


def guessed(model: keras.Model, x: Any, spec: DataSpec, class_names: Sequence[str] = ()) -> list[Output]:
    """Return what the outputs of a model mean, as far as its values and its compiled loss tell.

    Args:
        model: Built model.
        x: Examples.
        spec: Form of the examples.
        class_names: Names of the classes, if they are known.

    Raises:
        UsageError: The model does not take such inputs.
    """
    few = mapped(lambda array: array[:FEW], x)
    names = output_names(model, _called(model, few, spec))
    values, losses = outputs_of(model, few, spec), _losses(compiled_with(model), len(names))
    return [guess(*row, len(class_names)) for row in zip(names, values, losses, strict=True)]


def _in_order(compiled: Mapping[str, Any], model: keras.Model, outputs: Any) -> dict[str, Any]:
    """Return what a model was compiled with in the order of its outputs, where it is named and the outputs are not.

    The model that a recipe trains wraps the user's, and its outputs have no names of their own.
    """
    if isinstance(outputs, Mapping):
        return dict(compiled)
    names = getattr(model, "output_names", None) or ()
    return {
        what: [each.get(name) for name in names] if isinstance(each, Mapping) else each
        for what, each in compiled.items()
    }


def _losses(compiled: Mapping[str, Any], outputs: int) -> list[Any]:
    """Return the compiled loss of each output, None where there is none."""
    found = leaves(compiled.get("loss")) if compiled else []
    return found if len(found) == outputs else [None] * outputs


def first_of(data: Dataset) -> Split:
    """Return a few examples, of the first split that has any."""
    split = next(split for split in (data.test, data.train, data.validation) if len(split))
    return split.take(np.arange(min(FEW, len(split))))


def compiled_with(model: keras.Model) -> dict[str, Any]:
    """Return loss and weights of losses that a model was compiled with; nothing if it was not compiled with a loss."""
    loss = getattr(model, "loss", None)
    if not getattr(model, "compiled", False) or loss is None:
        return {}
    config = getattr(model, "_compile_config", None)
    weights = config.config.get("loss_weights") if config is not None else None
    return {"loss": loss} | ({"loss_weights": weights} if weights is not None else {})


def overridden(model: keras.Model) -> str:
    """Return the method by which a model's class replaces Keras' training or loss, such as `train_step`; or nothing."""
    kind = type(model)
    return next((n for n in ("train_step", "compute_loss") if getattr(kind, n) is not getattr(keras.Model, n)), "")


def output_names(model: keras.Model, outputs: Any) -> list[str]:
    """Return a name for each output: its keys, the name of the layer that computes it, or its number."""
    count = len(leaves(outputs))
    if isinstance(outputs, Mapping):
        names = [identifier(name) for name in _keys(outputs)]
    elif count == 1:
        return ["output"]
    else:
        names = [identifier(name) for name in getattr(model, "output_names", None) or ()]
    return names if len(set(names)) == count else [f"output_{number}" for number in range(count)]


def _keys(outputs: Any, before: Sequence[str] = ()) -> list[str]:
    """Return the keys and places that lead to each output of a structure, joined, in the order of `leaves`."""
    if isinstance(outputs, Mapping):
        return [found for key in sorted(outputs) for found in _keys(outputs[key], (*before, str(key)))]
    if isinstance(outputs, tuple | list):
        return [found for place, each in enumerate(outputs) for found in _keys(each, (*before, str(place)))]
    return ["_".join(before)]


def identifier(name: str) -> str:
    """Return a name of letters, digits and underscores that begins with a letter."""
    text = re.sub(r"\W+", "_", name).strip("_") or "tensor"
    return text if text[0].isalpha() else f"tensor_{text}"


def _called(model: keras.Model, x: Any, spec: DataSpec) -> Any:
    """Return the outputs of a model for a few examples, in its structure.

    Raises:
        UsageError: The model does not take such inputs.
    """
    try:
        return model.predict_on_batch(mapped(lambda array: scaled(array, spec.pixel_range), x))
    except Exception as error:  # the user's own code may raise anything
        shapes = few([f"{array.dtype} {array.shape[1:]}" for array in leaves(x)])
        raise UsageError(
            f"model {model.name}: expected data that it takes, received {shapes} for each example;"
            f" {' '.join(str(error).split())[:300]}"
        ) from None


def _labels(data: Dataset) -> Any:
    """Return the labels of all splits, which together show what they mean; None if any split has none."""
    parts = [split.y for split in (data.train, data.test) if len(split)]
    if any(part is None for part in parts):
        return None
    return [np.concatenate(column) for column in zip(*map(leaves, parts), strict=True)]


TASK = OwnModel()
