"""Runs that give numbers as files: one signature, from an input to the numbers in their own units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import OneOutputSubject, given, reference
from compression.runtime import litert
from compression.tasks.classification import Classification
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import DataSpec, Split
from zoo.system.files import write_text
from zoo.tasks import regression
from zoo.tasks.regression import outputs_of


@dataclass(frozen=True)
class Regression(Classification):
    """How a model that gives numbers becomes a file; see `Classification`."""

    ends: ClassVar[Mapping[str, str]] = {"output": "values"}
    softmax = False

    def subject(self, model: keras.Model, original: keras.Model) -> "NumberSubject":
        return NumberSubject(
            model, self.interface, self.data.split("test"), False, original=original, spec=self.data.spec
        )

    def subject_on(self, model: keras.Model, examples: Split) -> "NumberSubject":
        return NumberSubject(model, self.interface, examples, False, spec=self.data.spec)

    def class_indices(self, split: Split) -> np.ndarray:
        raise UsageError(
            "search: expected a run that gives classes, because recipes are selected by accuracy; received one that"
            " gives numbers"
        )

    def given_by(self) -> dict[str, Any]:
        names = list(outputs_of(self.data.spec))
        output = {"name": self.interface.output, "values": "numbers in the units of the training data", "names": names}
        return {"output": output}

    def write_beside(self, path: Path) -> None:
        """Write the names of the numbers, and the vocabulary of texts."""
        write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in outputs_of(self.data.spec)))
        if self.data.vocabulary is not None:
            self.data.vocabulary.save(path.with_suffix(".vocabulary.json"))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return f"RMSE {written(scores, 'rmse', intervals or {})}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        file, theirs = test["litert"], test["keras"]["rmse"]
        change = f", {file['rmse'] / theirs - 1:+.2%}" if theirs else ""
        return f"test {cls.headline(file, test.get('intervals'))}, Keras {theirs:,.5g}{change}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        largest = parity["largest_value"]
        return [f"largest difference from Keras {parity['largest_difference']:.4g}, of values up to {largest:.4g}"]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * max(scores.get("r2", 0.0), 0.0), "test R2, %"


@dataclass(frozen=True)
class NumberSubject(OneOutputSubject):
    """Subject of a file that gives numbers; see `ArraySubject`.

    Args:
        spec: Form of the data.
    """

    probabilities: bool = False
    spec: DataSpec = DataSpec("example", "vector", (1,), ())

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        return self.scores(outputs[0])

    def scored(self, path: Path) -> dict[str, float]:
        return self.scores(*self.outputs(path))

    def measured(self, path: Path) -> dict[str, Any]:
        x = given(self.examples, self.interface)
        expected, found = reference(self, x), litert.run(path, x)
        difference = np.abs(found.astype(np.float64) - expected)
        return {
            "test": {
                "examples": len(x),
                "sha256": examples_sha256(self.examples),
                "litert": self.scores(found),
                "intervals": self.intervals(found),
                "keras": self.scores(expected),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
                **self.agreement(found, expected),
            },
            "latency": litert.latency(path, x[: self.interface.batch]),
        }

    def scores(self, outputs: np.ndarray) -> dict[str, float]:
        """Return the scores of outputs, of the file or of Keras."""
        found = regression.scores(outputs, self.examples.y, self.spec)
        return {name: value for name, value in found.items() if name != "examples"}

    def intervals(self, outputs: np.ndarray) -> dict[str, Any]:
        """Return the 95 % intervals of the scores of outputs."""
        return regression.intervals_of(outputs, self.examples.y, self.spec)

    def agreement(self, found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        """Return what the parity of a receipt has besides differences."""
        return {"largest_value": float(np.abs(expected).max())}
