"""Language models as files: a signature for one step, from a token and a cache to logits and the next cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.flatbuffers.interface import TextInterface
from compression.recipes.options import ExportOptions
from compression.tasks.tokens import STEP, Taught, TokenForm
from zoo.config.sampling import Beam
from zoo.data import Dataset, Split
from zoo.tasks import language_model


@dataclass(frozen=True)
class LanguageModel(TokenForm):
    """How a language model becomes a file.

    Args:
        data: Data of the run.
    """

    data: Dataset

    @classmethod
    def build(
        cls,
        model: keras.Model,
        exported: keras.Model,
        data: Dataset,
        export: ExportOptions,
        *,
        beam: Beam | None = None,
        classifier: Path | None = None,
    ) -> "LanguageModel":
        return cls(data)

    @classmethod
    def recorded(
        cls, model: keras.Model, exported: keras.Model, data: Dataset, receipt: Mapping[str, Any]
    ) -> "LanguageModel":
        return cls(data)

    @property
    def interface(self) -> TextInterface:
        spec = self.data.spec
        return TextInterface(spec.task, spec.input_shape[0])

    @staticmethod
    def taught(split: Split) -> Taught:
        return Taught(split.x, split.y, None)

    def keras_scores(self, model: keras.Model) -> tuple[dict[str, Any], dict[str, Any]]:
        return language_model.TASK.measure(model, self.data)

    def first_input(self) -> np.ndarray | None:
        return None

    def about(self) -> dict[str, Any]:
        data = self.data
        return {"task": data.spec.task, "decode_step": STEP, "vocabulary_sha256": data.vocabulary.sha256}
