"""Several labels: any number of labels applies to an example. Their thresholds are chosen on the validation split."""

from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.models.parts.wrapped import Labeller
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import logits_of, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.scores import labels, table_baseline
from zoo.tasks import base
from zoo.tasks.pages import labels as label_page
from zoo.tasks.parts.arguments import from_data
from zoo.tasks.parts.plain import PlainTask

# Threshold of a label before it is chosen, and where there is no validation split.
HALF = 0.5


class Multilabel(PlainTask):
    """Any number of labels for each example."""

    name = "multilabel"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        known = registry.arguments(config.model)
        return {**config.settings, **from_data(known, spec), "num_classes": spec.num_classes}

    def wrapped(self, model: keras.Model, spec: DataSpec) -> keras.Model:
        return Labeller(model, (HALF,) * spec.num_classes)

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {"loss": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)}

    def concluded(self, model: keras.Model, data: Dataset) -> None:
        """Choose the thresholds of the labels on the validation split."""
        if isinstance(model, Labeller) and len(data.validation):
            found = labels.thresholds(sigmoid(logits_of(model, data.validation)), data.validation.y)
            model.thresholds = tuple(float(cut) for cut in found)

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples = data.split(split)
        p, cuts = sigmoid(logits_of(model, examples)), thresholds_of(model, data.spec)
        found = scores(p, examples.y, cuts)
        return found, {
            "probabilities": p,
            "per_class": labels.by_label(p > cuts, examples.y, data.spec.class_names, cuts),
            "intervals": labels.intervals_of(found, p > cuts, examples.y),
        }

    def beside(self, data: Dataset) -> list[dict[str, Any]]:
        if not data.spec.inputs:
            return []
        return table_baseline.labels(data.spec.inputs, [data.train, data.validation], data.test)

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return label_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return (
            f"micro F1 {written(test, 'micro_f1', within)}, macro F1 {written(test, 'macro_f1', within)},"
            f" mAP {written(test, 'mean_ap', within)}, {test['examples']:,} examples"
        )

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        column = options.text_column or run.read_config()["config"].text_column or "text"
        spec, vocabulary = read_spec(run)
        names, x = read_inputs(options.inputs, spec, vocabulary, column)
        model = run.load_model()
        p = sigmoid(logits_of(model, Split(x, np.zeros((len(x), spec.num_classes), np.float32))))
        cuts = thresholds_of(model, spec)
        return [{"input": name, **_answer(row, cuts, spec)} for name, row in zip(names, p, strict=True)]

    def truth(self, data: Dataset, split: str, index: int) -> str:
        held = np.flatnonzero(data.split(split).y[index])
        return ", ".join(data.spec.class_names[i] for i in held) or "no label"

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        shape = input_shape or base.IMAGE
        kind = {1: "vector", 2: "sequence"}.get(len(shape), "image")
        return DataSpec("example", kind, shape, tuple(map(str, range(size or base.CLASSES))), task=self.name)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        x = keras.KerasTensor((batch_size, *spec.input_shape), spec.input_dtype)
        return x, keras.KerasTensor((batch_size, spec.num_classes), "float32")


def _answer(p: np.ndarray, cuts: np.ndarray, spec: DataSpec) -> dict[str, Any]:
    """Return the labels of an example, the most probable first, and the probability of each label."""
    order = [i for i in p.argsort()[::-1] if p[i] > cuts[i]]
    return {
        "label": ", ".join(spec.class_names[i] for i in order) or "no label",
        "probability": float(min(p[i] for i in order)) if order else float(p.max()),
        "probabilities": {name: float(value) for name, value in zip(spec.class_names, p, strict=True)},
    }


def thresholds_of(model: keras.Model, spec: DataSpec) -> np.ndarray:
    """Return the threshold of each label, that of a model which has none is a half."""
    return np.array(model.thresholds if isinstance(model, Labeller) else (HALF,) * spec.num_classes)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits, in float64."""
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700)))


def scores(p: np.ndarray, y: np.ndarray, cuts: np.ndarray) -> dict[str, Any]:
    """Return the scores of a split: micro and macro F1, mean average precision, exact matches and the loss.

    Args:
        p: Probabilities, (examples, labels).
        y: Whether a label holds, (examples, labels).
        cuts: Thresholds, (labels,).
    """
    found: dict[str, Any] = labels.scores(p > cuts, y)
    tiny = np.finfo(np.float64).tiny
    losses = -(y * np.log(np.maximum(p, tiny)) + (1 - y) * np.log(np.maximum(1 - p, tiny)))
    return found | {
        "mean_ap": labels.mean_average_precision(p, y),
        "loss": float(losses.mean()),
        "examples": len(y),
    }


TASK = Multilabel()
