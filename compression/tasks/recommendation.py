"""Recommending models as files: from a user to the score of every item, beside vectors for a search on the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import ArraySubject, given, reference
from compression.runtime import litert
from compression.tasks.base import Export, Form
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals
from zoo.data import Dataset, Split
from zoo.scores.recommendations import Seen, ranked, ranks
from zoo.system.files import replacing, write_text
from zoo.tasks import recommendation
from zoo.tasks.parts import vectors

# Largest number of test users that a file is measured on: each gives as many numbers as there are items.
USERS = 2000


@dataclass(frozen=True)
class Recommendation(Form):
    """How a recommending model becomes a file.

    Args:
        data: Data of the run.
        interface: Input and output of the file.
        vectors: Vectors of users and items of the run's model, by name.
    """

    data: Dataset
    interface: Interface
    vectors: Mapping[str, np.ndarray]

    softmax = False

    @classmethod
    def build(cls, made: Export) -> Self:
        return cls(made.data, Interface("user", (1,), "int32", output="scores"), vectors.of(made.exported))

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        return cls.build(made)

    def subject(self, model: keras.Model, original: keras.Model) -> "ItemSubject":
        test = self.data.split("test")
        chosen = test.take(np.linspace(0, len(test) - 1, min(USERS, len(test))).round().astype(int))
        return ItemSubject(model, self.interface, chosen, probabilities=False, original=original, data=self.data)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        return self.examples(count, seed)

    def examples(self, count: int, seed: int) -> np.ndarray:
        """Return training users in random order."""
        train = self.data.train
        if not len(train):
            raise UsageError("expected training events to begin with, received none")
        return train.x[np.random.default_rng(seed).permutation(len(train))[:count]]

    def about(self) -> dict[str, Any]:
        form = self.data.spec.events
        values = "rating of each item" if form.rated else "score of each item, the highest first choice"
        return {
            "task": self.data.spec.task,
            "input": {"name": "user", "kind": "events", "shape": [1], "values": "row of the user among the users"},
            "output": {"name": "scores", "values": values},
            "vectors": {
                "width": int(self.vectors["items"].shape[1]),
                "values": "float32; the product of a user's and an item's vector ranks items as the run's model does",
            },
        }

    def write_beside(self, path: Path) -> None:
        """Write the names of items and users, and their vectors, in the order of their rows."""
        form = self.data.spec.events
        write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in form.items))
        write_text(path.with_suffix(".users.txt"), "".join(f"{name}\n" for name in form.users))
        for name, array in self.vectors.items():
            with replacing(path.with_suffix(f".{name}.npy")) as temporary, temporary.open("wb") as file:
                np.save(file, array)

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return recommendation.in_words(scores, intervals or {})

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        return [
            f"largest difference in score from Keras {parity['largest_difference']:.1e}, the same first item for"
            f" {parity['same_answer']:.2%}"
        ]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["recall_at_10"], "test recall@10, %"


@dataclass(frozen=True, kw_only=True)
class ItemSubject(ArraySubject):
    """Subject of a file that scores items, measured by the ranks of held-out ones.

    Args:
        data: Data of the run; items that a user has had are left out.
    """

    data: Dataset

    def scored(self, path: Path) -> dict[str, float]:
        return ranked(self._ranks(litert.run(path, given(self.examples, self.interface))))

    def measured(self, path: Path) -> dict[str, Any]:
        x = given(self.examples, self.interface)
        expected, found = reference(self, x), litert.run(path, x)
        difference, mine = np.abs(found - expected), self._ranks(found)
        return {
            "test": {
                "examples": len(x),
                "of": len(self.data.test),
                "sha256": examples_sha256(self.examples),
                "litert": ranked(mine),
                "intervals": recommendation.intervals_of(mine),
                "keras": ranked(self._ranks(expected)),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean(dtype=np.float64)),
                "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
            },
            "latency": litert.latency(path, x[:1]),
        }

    def _ranks(self, outputs: np.ndarray) -> np.ndarray:
        seen: Seen = recommendation.seen_before(self.data, "test")
        examples: Split = self.examples
        return ranks(outputs, examples.x[:, 0], recommendation.items_of(examples), seen)
