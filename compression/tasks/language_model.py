"""Language models as files: a signature for one step, from a token and a cache to logits and the next cache."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from compression.flatbuffers.interface import TextInterface
from compression.tasks.parts.tokens import STEP, Taught, TokenForm
from zoo.data import Dataset, Split
from zoo.tasks import language_model


@dataclass(frozen=True)
class LanguageModel(TokenForm):
    """How a language model becomes a file.

    Args:
        data: Data of the run.
    """

    data: Dataset

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
