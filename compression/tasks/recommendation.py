"""Recommending models as files: from a user to the score of every item, beside vectors for a search on the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.tasks.base import Export
from compression.tasks.parts.ranked import RankedForm, RankedSubject
from zoo.console.figures import Intervals
from zoo.data import Dataset
from zoo.scores import recommendations
from zoo.scores.recommendations import Seen, ranked
from zoo.system.files import replacing, write_text
from zoo.tasks import recommendation
from zoo.tasks.parts import vectors

# Largest number of test users that a file is measured on: each gives as many numbers as there are items.
USERS = 2000


@dataclass(frozen=True)
class Recommendation(RankedForm):
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

    def subject(self, model: keras.Model, original: keras.Model) -> "ItemSubject":
        test = self.data.split("test")
        chosen = test.take(np.linspace(0, len(test) - 1, min(USERS, len(test))).round().astype(int))
        return ItemSubject(model, self.interface, chosen, probabilities=False, original=original, data=self.data)

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
class ItemSubject(RankedSubject):
    """Subject of a file that scores items, measured by the ranks of held-out ones."""

    def ranks(self, outputs: np.ndarray) -> np.ndarray:
        seen: Seen = recommendation.seen_before(self.data, "test")
        return recommendations.ranks(outputs, self.examples.x[:, 0], recommendation.items_of(self.examples), seen)

    def of_ranks(self, ranks: np.ndarray) -> dict[str, float]:
        return ranked(ranks)

    def intervals(self, ranks: np.ndarray) -> dict[str, Any]:
        return recommendation.intervals_of(ranks)
