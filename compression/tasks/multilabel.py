"""Runs that give several labels as files: one signature, from an input to the probability of each label."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from compression.tasks.classification import Classification
from compression.tasks.regression import NumberSubject
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Split
from zoo.scores import labels
from zoo.tasks import multilabel
from zoo.tasks.multilabel import thresholds_of


@dataclass(frozen=True)
class Multilabel(Classification):
    """How a model that gives several labels becomes a file; see `Classification`."""

    ends: ClassVar[Mapping[str, str]] = {"activation": "sigmoid"}

    def subject(self, model: keras.Model, original: keras.Model) -> "LabelSubject":
        return LabelSubject(
            model, self.interface, self.data.split("test"), True, original=original, spec=self.data.spec
        )

    def subject_on(self, model: keras.Model, examples: Split) -> "LabelSubject":
        return LabelSubject(model, self.interface, examples, True, spec=self.data.spec)

    def class_indices(self, split: Split) -> np.ndarray:
        raise UsageError(
            "search: expected a run that gives one class for each example, because recipes are selected by accuracy;"
            " received one that gives several labels"
        )

    def given_by(self) -> dict[str, Any]:
        return {"output": {"name": self.interface.output, "values": "probability of each label, each by itself"}}

    def learnt(self, model: keras.Model) -> dict[str, Any]:
        return {"thresholds": thresholds_of(model, self.data.spec).tolist()}

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return f"micro F1 {written(scores, 'micro_f1', intervals or {})}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        file, theirs = test["litert"], test["keras"]["micro_f1"]
        points = (file["micro_f1"] - theirs) * 100
        return f"test {cls.headline(file, test.get('intervals'))}, Keras {theirs:.2%}, difference {points:+.2f} points"

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["micro_f1"], "test micro F1, %"


@dataclass(frozen=True)
class LabelSubject(NumberSubject):
    """Subject of a file that gives the probability of each label; see `NumberSubject`."""

    def scores(self, outputs: np.ndarray) -> dict[str, float]:
        found = multilabel.scores(outputs.astype(np.float64), self.examples.y, self.cuts)
        return {name: value for name, value in found.items() if name != "examples"}

    def intervals(self, outputs: np.ndarray) -> dict[str, Any]:
        return labels.intervals_of(self.scores(outputs), outputs > self.cuts, self.examples.y)

    def agreement(self, found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        return {"same_answer": float(((found > self.cuts) == (expected > self.cuts)).mean())}

    @property
    def cuts(self) -> np.ndarray:
        """Threshold of each label."""
        return thresholds_of(self.model, self.spec)
