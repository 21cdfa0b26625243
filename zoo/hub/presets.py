"""Reading a preset of KerasHub: its model and its tokenizer, or one sentence why not."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras_hub

from zoo.console.errors import UsageError

TASKS = {"classification": keras_hub.models.TextClassifier, "translation": keras_hub.models.T5Seq2SeqLM}


def model(preset: str, task: str, **options: Any) -> Any:
    """Return a `keras_hub.models.Task` with the preset's weights, and where the preset has none for it a new head.

    Args:
        preset: a folder of `save_to_preset`, or a name that KerasHub knows (bert_tiny_en_uncased, hf://..., kaggle://...).
        task: classification or translation.
        options: constructor arguments of the task.

    Raises:
        UsageError: no such preset, or one that is for something else.
    """
    with _one_sentence(preset):
        return TASKS[task].from_preset(preset, preprocessor=None, **options)


def tokenizer(preset: str) -> Any:
    """Return the preset's `keras_hub.tokenizers.Tokenizer`.

    Raises:
        UsageError: no such preset, or one without a tokenizer.
    """
    with _one_sentence(preset):
        return keras_hub.tokenizers.Tokenizer.from_preset(preset)


@contextlib.contextmanager
def _one_sentence(preset: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a preset may be a folder, or one of four hubs, each with errors of its own
        said = " ".join(str(error).split())[:300]
        raise UsageError(f"--set preset={preset}: expected a preset of KerasHub for this model: {said}") from None
