"""What a run on triples is exported as, from a question to the probability of every entity, and how it is measured."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import Subject, examples_sha256, given, reference
from compression.runtime import litert
from zoo.console.errors import UsageError
from zoo.data import Dataset
from zoo.system.files import write_text
from zoo.tasks import link_prediction
from zoo.tasks.link_prediction import Known

# Test questions that a file is measured on at most, evenly spread: each gives as many numbers as there are entities.
QUESTIONS = 2000


@dataclass(frozen=True)
class Links:
    """How a model of triples becomes a file, and what it is measured by.

    Args:
        data: the training split trains, the test split measures.
        interface: of the file.
    """

    data: Dataset
    interface: Interface

    def subject(self, model: keras.Model, original: keras.Model) -> "LinkSubject":
        """Return what a file of a model is measured against."""
        asked = link_prediction.spread(self.data.split("test"), QUESTIONS)
        return LinkSubject(model, self.interface, asked, original=original, data=self.data)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        """Return training questions as the file takes them."""
        return self.examples(count, seed)

    def examples(self, count: int, seed: int) -> np.ndarray:
        """Return training questions in random order, as the model takes them."""
        train = self.data.train
        if not len(train):
            raise UsageError("expected training examples to begin with, received none")
        return train.x[np.random.default_rng(seed).permutation(len(train))[:count]]

    def about(self) -> dict[str, Any]:
        """Return what somebody who has only the file must know to use it."""
        spec = self.data.spec
        values = (
            f"row of the head among the entities, and of the relation among the relations; which head: row of the tail,"
            f" and {len(spec.relations)} more than the relation's"
        )
        return {
            "task": spec.task,
            "input": {"name": self.interface.name, "kind": spec.kind, "shape": [2], "values": values},
            "output": {"name": self.interface.output, "values": "probability of each entity"},
            "relations": list(spec.relations),
            "entities_sha256": hashlib.sha256(_lines(spec.class_names).encode()).hexdigest(),
        }

    def write_beside(self, path: Path) -> None:
        """Write the names of the entities and of the relations, in the order of their rows."""
        write_text(path.with_suffix(".labels.txt"), _lines(self.data.spec.class_names))
        write_text(path.with_suffix(".relations.txt"), _lines(self.data.spec.relations))


@dataclass(frozen=True, kw_only=True)
class LinkSubject(Subject):
    """What a file that completes triples was made from and is measured against, by filtered ranks.

    Args:
        data: whose answers are known.
    """

    data: Dataset

    def scored(self, path: Path) -> dict[str, float]:
        """Return the scores of a file."""
        return link_prediction.ranked(self._ranks(litert.run(path, given(self.examples, self.interface))))

    def measured(self, path: Path) -> dict[str, Any]:
        """Return the scores of a file and of Keras on the same questions, their difference, and what a call takes."""
        x = given(self.examples, self.interface)
        expected, found = reference(self, x), litert.run(path, x)
        difference, ranks = np.abs(found - expected), self._ranks(found)
        return {
            "test": {
                "examples": len(x),
                "of": len(self.data.test),
                "sha256": examples_sha256(self.examples),
                "litert": link_prediction.ranked(ranks),
                "intervals": link_prediction.intervals_of(ranks),
                "keras": link_prediction.ranked(self._ranks(expected)),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean(dtype=np.float64)),
                "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
            },
            "latency": litert.latency(path, x[:1]),
        }

    def _ranks(self, outputs: np.ndarray) -> np.ndarray:
        return link_prediction.filtered(outputs, self.examples, Known(self.data))[0]


def _lines(names: tuple[str, ...]) -> str:
    return "".join(f"{name}\n" for name in names)
