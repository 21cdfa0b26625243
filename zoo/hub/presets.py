"""Models and tokenizers from presets of KerasHub, with errors in one sentence."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras_hub

from zoo.console.errors import UsageError


def classifier(preset: str, num_classes: int, dropout: float) -> keras_hub.models.TextClassifier:
    """Return a classifier of texts with the weights of a preset, and a new head if the preset has none.

    Args:
        preset: Folder of `save_to_preset`, or a name that KerasHub knows (bert_tiny_en_uncased, hf://..., kaggle://...).
        num_classes: Number of classes.
        dropout: Share of the head's inputs dropped in training.

    Raises:
        UsageError: No such preset, or a preset for another kind of model.
    """
    with _one_sentence(preset):
        model = keras_hub.models.TextClassifier
        return model.from_preset(preset, preprocessor=None, num_classes=num_classes, dropout=dropout)


def translator(preset: str) -> keras_hub.models.T5Seq2SeqLM:
    """Return a T5 with the weights of a preset.

    Args:
        preset: As of `classifier`, such as t5_small_multi.

    Raises:
        UsageError: No such preset, or a preset for another kind of model.
    """
    with _one_sentence(preset):
        return keras_hub.models.T5Seq2SeqLM.from_preset(preset, preprocessor=None)


def tokenizer(preset: str) -> Any:
    """Return the `keras_hub.tokenizers.Tokenizer` of a preset.

    Raises:
        UsageError: No such preset, or a preset without a tokenizer.
    """
    with _one_sentence(preset):
        return keras_hub.tokenizers.Tokenizer.from_preset(preset)


@contextlib.contextmanager
def _one_sentence(preset: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # folders and four hubs each raise their own types of errors
        said = " ".join(str(error).split())[:300]
        raise UsageError(f"--set preset={preset}: expected a preset of KerasHub for this model: {said}") from None
