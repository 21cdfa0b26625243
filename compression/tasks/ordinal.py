"""Runs that give ordered classes as files: those of classes, scored by how far a miss is as well."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from compression.tasks.classification import Classification, ClassSubject
from zoo.console.figures import Intervals, written
from zoo.data import Split
from zoo.tasks.ordinal import distances


@dataclass(frozen=True)
class Ordinal(Classification):
    """How a run of ordered classes becomes a file; see `Classification`."""

    def subject(self, model: keras.Model, original: keras.Model) -> "OrdinalSubject":
        return OrdinalSubject(model, self.interface, self.data.split("test"), original=original)

    def subject_on(self, model: keras.Model, examples: Split) -> "OrdinalSubject":
        return OrdinalSubject(model, self.interface, examples)

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return f"{super().headline(scores, intervals)}, mean distance {written(scores, 'rank_error', {})} ranks"


@dataclass(frozen=True)
class OrdinalSubject(ClassSubject):
    """Subject of a file that gives the probability of each of several ordered classes; see `ClassSubject`."""

    def scores(self, outputs: np.ndarray) -> dict[str, float]:
        return super().scores(outputs) | distances(outputs.argmax(-1), self.examples.y)
