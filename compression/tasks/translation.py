"""Translation models as files: `encode` for the source, and `decode_step` for each token of the target."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers.interface import TextInterface
from compression.runtime import litert_texts
from compression.tasks.base import Export
from compression.tasks.parts.tokens import STEP, Taught, TokenForm
from zoo.config.sampling import Beam
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, Split
from zoo.data.text import BEGIN_ID, END_ID
from zoo.tasks import translation


@dataclass(frozen=True)
class Translation(TokenForm):
    """How a translation model becomes a file.

    Args:
        data: Data of the run.
        beam: Beam search that translations are found by, in Keras and in the file.
    """

    data: Dataset
    beam: Beam = Beam()

    @classmethod
    def build(cls, made: Export) -> Self:
        return cls(made.data, made.beam or Beam())

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        return cls(made.data, Beam(**receipt.get("test", {}).get("decoding", {})))

    @property
    def interface(self) -> TextInterface:
        spec = self.data.spec
        return TextInterface(spec.task, spec.target_shape[0] - 1, spec.input_shape[0])

    @staticmethod
    def taught(split: Split) -> Taught:
        return Taught(split.y[:, :-1], split.y[:, 1:], split.x)

    def keras_scores(self, model: keras.Model) -> tuple[dict[str, Any], dict[str, Any]]:
        return translation.TASK.measure(model, self.data, beam=self.beam)

    def generated_scores(self, path: Path, shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Translate the test texts with a file, and compare the translations with the references and with Keras."""
        data = self.data
        ids = litert_texts.translate(path, data.split("test").x, begin=BEGIN_ID, end=END_ID, beam=self.beam)
        outputs = [data.target_vocabulary.decode(row) for row in ids]
        same = [mine == row["output"] for mine, row in zip(outputs, shown["translations"], strict=True)]
        return {
            "scores": translation.scores(outputs, self.references()),
            "intervals": translation.intervals_of(outputs, self.references()),
            "parity": {"same_text": float(np.mean(same))},
            "test": {"decoding": dataclasses.asdict(self.beam)},
        }

    def references(self) -> tuple[str, ...]:
        return self.data.references.get("test", ())

    def first_input(self) -> np.ndarray | None:
        return self.data.split("test").x[:1]

    def about(self) -> dict[str, Any]:
        data = self.data
        step = STEP | {
            "token": "id at the position; at 0 of a translation, begin",
            "context_keys, context_values, source_mask": "what encode gave",
        }
        return {
            "task": data.spec.task,
            "encode": {"source": "ids of the vocabulary, padded at the end with 0"},
            "decode_step": step,
            "begin": BEGIN_ID,
            "end": END_ID,
            "vocabulary_sha256": data.vocabulary.sha256,
            "target_vocabulary_sha256": data.target_vocabulary.sha256,
        }

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        if "bleu" not in scores:  # the file of a stage, which translates nothing
            return super().headline(scores, intervals)
        bleu, chrf, exact = (written(scores, name, intervals or {}) for name in ("bleu", "chrf", "exact_match"))
        return f"BLEU {bleu}, chrF {chrf}, exact {exact}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        return f"{super().comparison(test)}, by beam search of {test['decoding']['beams']}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        return [
            *super().parity(parity),
            f"another source changes {parity['source_effect']:.1%} of the next-token probabilities, in Keras"
            f" {parity['source_effect_keras']:.1%}",
        ]
