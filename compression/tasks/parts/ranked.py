"""What forms share whose files score every candidate for a question, and are judged by the ranks of the right ones."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import ArraySubject, given, reference
from compression.runtime import litert
from compression.tasks.base import Export, Form
from zoo.console.errors import UsageError
from zoo.data import Dataset


class RankedForm(Form):
    """Form of a file that takes rows of a table of vectors."""

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        return cls.build(made)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        return self.examples(count, seed)

    def examples(self, count: int, seed: int) -> np.ndarray:
        """Return training questions in random order."""
        train = self.data.train
        if not len(train):
            raise UsageError("expected training examples to begin with, received none")
        return train.x[np.random.default_rng(seed).permutation(len(train))[:count]]


@dataclass(frozen=True, kw_only=True)
class RankedSubject(ArraySubject):
    """Subject of a file that scores candidates.

    Args:
        data: Data of the run; candidates that are known to be right are left out of the ranks of others.
    """

    data: Dataset

    @abstractmethod
    def ranks(self, outputs: np.ndarray) -> np.ndarray:
        """Return the rank of the right candidate of each example, from scores (examples, candidates)."""

    @abstractmethod
    def of_ranks(self, ranks: np.ndarray) -> dict[str, float]:
        """Return the scores of ranks."""

    @abstractmethod
    def intervals(self, ranks: np.ndarray) -> dict[str, Any]:
        """Return the 95 % intervals of these scores."""

    def scored(self, path: Path) -> dict[str, float]:
        return self.of_ranks(self.ranks(litert.run(path, given(self.examples, self.interface))))

    def measured(self, path: Path) -> dict[str, Any]:
        x = given(self.examples, self.interface)
        expected, found = reference(self, x), litert.run(path, x)
        difference, mine = np.abs(found - expected), self.ranks(found)
        return {
            "test": {
                "examples": len(x),
                "of": len(self.data.test),
                "sha256": examples_sha256(self.examples),
                "litert": self.of_ranks(mine),
                "intervals": self.intervals(mine),
                "keras": self.of_ranks(self.ranks(expected)),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean(dtype=np.float64)),
                "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
            },
            "latency": litert.latency(path, x[:1]),
        }
