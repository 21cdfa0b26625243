"""Forecasting models as files: from the past of series, in their own units, to their next steps.

An integer file takes and gives float32 numbers and standardizes them itself: columns have different units, and one
scale and zero point for all of them would leave some with a few steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import ModelInterface, Port
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import OutputSubject
from compression.runtime import litert
from compression.tasks.base import Export, OutputForm
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals
from zoo.data import Dataset, Split
from zoo.data.dataset import leaves, mapped
from zoo.data.series.form import SeriesForm
from zoo.runs.inference import logits_of
from zoo.scores.forecasts import Sums
from zoo.system.files import write_text
from zoo.tasks import forecasting

# Largest number of test windows that a file is measured on.
WINDOWS = 3000
HISTORY, FUTURE, FORECAST = "history", "future", "forecast"


@dataclass(frozen=True)
class Forecasting(OutputForm):
    """How a forecasting model becomes a file.

    Args:
        data: Data of the run.
        interface: Inputs and output of the file.

    Raises:
        UsageError: The file takes bytes.
    """

    data: Dataset
    interface: ModelInterface

    softmax = False

    @classmethod
    def build(cls, made: Export) -> Self:
        if made.options.uint8 or made.options.input_size:
            raise UsageError("--uint8-input: expected a run on images, this one takes series")
        return cls(made.data, interface_of(made.data.spec.series, made.options.batch))

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        return cls(made.data, interface_of(made.data.spec.series, receipt["interface"]["batch"]))

    def subject(self, model: keras.Model, original: keras.Model) -> "ForecastSubject":
        return ForecastSubject(model, self.interface, spread(self.data.split("test")), self.data, original)

    def chosen(self, split: Split, count: int, seed: int) -> Split:
        if not len(split):
            raise UsageError("expected training windows to calibrate with, received none")
        return split.take(np.random.default_rng(seed).permutation(len(split))[:count])

    def class_indices(self, split: Split) -> np.ndarray:
        raise UsageError("search: expected a run that gives classes, because recipes are selected by accuracy; this"
                         " one forecasts: compress it with each recipe, and compare the receipts")  # fmt: skip

    def subject_on(self, model: keras.Model, examples: Split) -> "ForecastSubject":
        return ForecastSubject(model, self.interface, examples, self.data)

    def calibration(self, count: int, seed: int) -> dict[str, np.ndarray]:
        return given(self.chosen(self.data.train, count, seed), self.interface)

    def calibration_count(self, calibration: Mapping[str, np.ndarray]) -> int:
        return len(calibration[HISTORY])

    def examples(self, count: int, seed: int) -> Any:
        return mapped(lambda array: array[:], self.chosen(self.data.train, count, seed).x)

    def about(self) -> dict[str, Any]:
        form = self.data.spec.series
        units = "numbers in the units of the data, oldest first"
        columns = {HISTORY: [*form.columns, *form.known], FUTURE: list(form.known)}
        quantiles = ", and its quantiles" if form.quantiles else ""
        return {
            "task": self.data.spec.task,
            "inputs": [
                {"name": port.name, "shape": list(port.shape), "values": units, "columns": columns[port.name]}
                for port in self.interface.inputs
            ],
            "output": {
                "name": FORECAST,
                "shape": list(self.interface.outputs[0].shape),
                "values": f"the next steps of each column in its unit{quantiles}",
                "columns": list(form.columns),
            },
            "series": form.described(),
        }

    def write_beside(self, path: Path) -> None:
        """Write the names of the columns that are forecast."""
        columns = self.data.spec.series.columns
        write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in columns))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return forecasting.in_words(scores)

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        rise = test["litert"]["mse"] / test["keras"]["mse"] - 1
        return f"{super().comparison(test)}; MSE {rise:+.2%}; {forecasting.beside(test['litert'] | test['naive'])}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        return [f"largest difference from Keras {parity['largest_difference']:.1e} standard deviations"]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return scores["mse"], "test MSE"


def interface_of(form: SeriesForm, batch: int | None = 1) -> ModelInterface:
    """Return the interface of the file of a forecasting model.

    Args:
        form: Form of the series.
        batch: Static batch size; None leaves it free.
    """
    inputs = [Port(HISTORY, (form.lookback, len(form.columns) + len(form.known)))]
    if form.known:
        inputs.append(Port(FUTURE, (form.horizon, len(form.known))))
    quantiles = (len(form.quantiles),) if form.quantiles else ()
    output = Port(FORECAST, (form.horizon, len(form.columns), *quantiles))
    return ModelInterface(tuple(inputs), (output,), structure="tuple" if form.known else "one", batch=batch)


def given(split: Split, interface: ModelInterface) -> dict[str, np.ndarray]:
    """Return windows as the file takes them, by the name of the input."""
    return {port.name: array[:] for port, array in zip(interface.inputs, leaves(split.x), strict=True)}


def spread(split: Split) -> Split:
    """Return at most `WINDOWS` windows of a split, evenly spread."""
    return split.take(np.linspace(0, len(split) - 1, min(WINDOWS, len(split))).round().astype(int))


@dataclass(frozen=True)
class ForecastSubject(OutputSubject):
    """What the file of a forecasting model is measured against.

    Args:
        model: Model whose forecasts the file should have.
        interface: Inputs and output of the file.
        examples: Windows.
        data: Data of the run.
        original: Model with whose weights in float32 the file's size is compared.
    """

    model: keras.Model
    interface: ModelInterface
    examples: Split
    data: Dataset
    original: keras.Model | None = None

    probabilities = False

    def check_takes(self, path: Path, content: Any) -> None:
        expected = {port.name: [self.interface.batch, *port.shape] for port in self.interface.inputs}
        received = {row["name"]: list(row["shape"]) for row in flatbuffer.signature(content)["inputs"]}
        if expected != received:
            raise UsageError(f"{path}: expected a file that takes {expected}, as the run does; it takes {received}")

    def inputs(self) -> dict[str, np.ndarray]:
        return given(self.examples, self.interface)

    def outputs(self, path: Path) -> list[np.ndarray]:
        return [litert.run_named(path, self.inputs())[FORECAST]]

    def reference(self) -> list[np.ndarray]:
        return [logits_of(self.model, self.examples)]

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        return self._sums(outputs[0])[0].scores()

    def scored(self, path: Path) -> dict[str, float]:
        return self.graded(self.outputs(path))

    def measured(self, path: Path) -> dict[str, Any]:
        (found,), (expected,) = self.outputs(path), self.reference()
        own, naive = self._sums(found)
        shape = (-1, *([1] * (found.ndim - 3)))
        deviations = np.array(self.data.spec.series.own_deviations, np.float64).reshape(shape)
        difference = np.abs(found.astype(np.float64) - expected) / deviations
        return {
            "test": {
                "examples": len(self.examples),
                "of": len(self.data.test),
                "sha256": examples_sha256(self.examples),
                "litert": own.scores(),
                "keras": self.graded([expected]),
                "naive": {f"naive_{name}": value for name, value in naive.scores().items()},
            },
            "parity": {"largest_difference": float(difference.max()), "mean_difference": float(difference.mean())},
            "latency": litert.latency(path, {name: x[: self.interface.batch] for name, x in self.inputs().items()}),
        }

    def _sums(self, forecasts: np.ndarray) -> tuple[Sums, Sums]:
        """Return the sums of errors of forecasts, and of the seasonal-naive ones."""
        form = self.data.spec.series
        own, naive = forecasting.sums_of(form), Sums(np.array(form.own_deviations))
        forecasting.add(own, naive, self.examples, forecasts, form)
        return own, naive
