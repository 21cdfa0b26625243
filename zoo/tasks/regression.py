"""Regression: one or more numbers for each example, and on request their quantiles."""

from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.models.parts.wrapped import Regressor
from zoo.objectives.losses import NumberLoss
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import logits_of, read_inputs
from zoo.runs.vocabularies import read_spec
from zoo.scores import numbers, table_baseline
from zoo.scores.forecasts import pinball
from zoo.tasks import base
from zoo.tasks.pages import numbers as number_page
from zoo.tasks.parts.arguments import from_data
from zoo.tasks.parts.plain import PlainTask


class Regression(PlainTask):
    """One or more numbers for each example."""

    name = "regression"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        outputs = len(spec.targets) * (1 + len(spec.quantiles))
        return {**config.settings, **from_data(registry.arguments(config.model), spec), "num_classes": outputs}

    def wrapped(self, model: keras.Model, spec: DataSpec) -> keras.Model:
        return Regressor(model, *(per_output(spec, values) for values in (spec.means, spec.deviations)))

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {"loss": NumberLoss(spec.deviations, spec.quantiles)}

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples, spec = data.split(split), data.spec
        outputs = logits_of(model, examples)
        found = scores(outputs, examples.y, spec)
        shown: dict[str, Any] = {"outputs": outputs, "intervals": intervals_of(outputs, examples.y, spec)}
        if len(spec.targets) > 1:
            shown["per_column"] = numbers.by_column(outputs, examples.y, spec.targets)
        return found, shown

    def beside(self, data: Dataset) -> list[dict[str, Any]]:
        if not data.spec.inputs:
            return []
        return table_baseline.numbers(data.spec.inputs, [data.train, data.validation], data.test)

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return number_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        named = [name for name in ("rmse", "mae", "r2") if name in test]
        said = ", ".join(f"{_LABELS[name]} {written(test, name, within)}" for name in named)
        return f"{said}, {test['examples']:,} examples"

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        column = options.text_column or run.read_config()["config"].text_column or "text"
        spec, vocabulary = read_spec(run)
        names, x = read_inputs(options.inputs, spec, vocabulary, column)
        outputs = logits_of(run.load_model(), Split(x, np.zeros((len(x), len(spec.targets)), np.float32)))
        titles = outputs_of(spec)
        return [
            {"input": name, "values": row.tolist()} | ({"names": list(titles)} if len(titles) > 1 else {})
            for name, row in zip(names, outputs, strict=True)
        ]

    def truth(self, data: Dataset, split: str, index: int) -> str:
        return " ".join(f"{value:.6g}" for value in data.split(split).y[index])

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        shape = input_shape or base.IMAGE
        kind = {1: "vector", 2: "sequence"}.get(len(shape), "image")
        names = tuple(f"y{number}" for number in range(size or 1))
        units = {"means": (0.0,) * len(names), "deviations": (1.0,) * len(names)}
        return DataSpec("example", kind, shape, (), task=self.name, targets=names, **units)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        x = keras.KerasTensor((batch_size, *spec.input_shape), spec.input_dtype)
        return x, keras.KerasTensor((batch_size, len(spec.targets)), "float32")


_LABELS = {"rmse": "RMSE", "mae": "MAE", "r2": "R2"}


def per_output(spec: DataSpec, values: tuple[float, ...]) -> tuple[float, ...]:
    """Return values of the targets for each output: the targets first, then the quantiles of the first and so on."""
    return (*values, *(value for value in values for _ in spec.quantiles))


def outputs_of(spec: DataSpec) -> tuple[str, ...]:
    """Return the names of a model's outputs: the targets, then their quantiles."""
    return (*spec.targets, *(f"{name} at {level:g}" for name in spec.targets for level in spec.quantiles))


def quantiles_of(outputs: np.ndarray, spec: DataSpec) -> np.ndarray:
    """Return the predicted quantiles in order, (examples, targets, quantiles)."""
    targets = len(spec.targets)
    return np.sort(outputs[:, targets:].reshape(len(outputs), targets, len(spec.quantiles)), axis=-1)


def scores(outputs: np.ndarray, y: np.ndarray, spec: DataSpec) -> dict[str, Any]:
    """Return the scores of a split: RMSE, MAE and R2, the loss, and of quantiles pinball loss and coverage.

    Args:
        outputs: Outputs of the model, (examples, outputs).
        y: True numbers, (examples, targets).
        spec: Form of the data.
    """
    targets, units = len(spec.targets), np.array(spec.deviations)
    found: dict[str, Any] = numbers.scores(outputs[:, :targets], y)
    loss = np.square((outputs[:, :targets].astype(np.float64) - y) / units).mean()
    if spec.quantiles:
        asked = quantiles_of(outputs, spec)
        each = pinball(y.astype(np.float64), asked, spec.quantiles)
        found |= {"quantile_loss": float(each.mean()), "inside": numbers.covered(asked, y)}
        loss += (each / units[:, None]).mean()
    return found | {"loss": float(loss), "examples": len(y)}


def intervals_of(outputs: np.ndarray, y: np.ndarray, spec: DataSpec) -> dict[str, Any]:
    """Return the 95 % intervals of the scores of a split; see `scores`."""
    return numbers.intervals_of(outputs[:, : len(spec.targets)], y)


TASK = Regression()
