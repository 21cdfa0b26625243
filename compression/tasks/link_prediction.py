"""Models of triples as files: from a question to the probability of every entity."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.tasks.base import Export
from compression.tasks.classification import interface_of
from compression.tasks.parts.ranked import RankedForm, RankedSubject
from zoo.console.figures import Intervals, written
from zoo.data import Dataset
from zoo.system.files import write_text
from zoo.tasks import link_prediction
from zoo.tasks.link_prediction import Known

# Largest number of test questions that a file is measured on: each gives as many numbers as there are entities.
QUESTIONS = 2000


@dataclass(frozen=True)
class LinkPrediction(RankedForm):
    """How a model of triples becomes a file.

    Args:
        data: Data of the run.
        interface: Input and output of the file.
    """

    data: Dataset
    interface: Interface

    @classmethod
    def build(cls, made: Export) -> Self:
        return cls(made.data, interface_of(made.data.spec))

    def subject(self, model: keras.Model, original: keras.Model) -> "LinkSubject":
        asked = link_prediction.spread(self.data.split("test"), QUESTIONS)
        return LinkSubject(model, self.interface, asked, original=original, data=self.data)

    def about(self) -> dict[str, Any]:
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

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        mrr, hits = (written(scores, name, intervals or {}) for name in ("mrr", "hits_at_10"))
        return f"filtered MRR {mrr}, hits at 10 {hits}"

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["mrr"], "filtered MRR on the test split, %"


@dataclass(frozen=True, kw_only=True)
class LinkSubject(RankedSubject):
    """Subject of a file that completes triples, measured by filtered ranks."""

    def ranks(self, outputs: np.ndarray) -> np.ndarray:
        return link_prediction.filtered(outputs, self.examples, Known(self.data))[0]

    def of_ranks(self, ranks: np.ndarray) -> dict[str, float]:
        return link_prediction.ranked(ranks)

    def intervals(self, ranks: np.ndarray) -> dict[str, Any]:
        return link_prediction.intervals_of(ranks)


def _lines(names: tuple[str, ...]) -> str:
    return "".join(f"{name}\n" for name in names)
