"""Load the data of a training, with the vocabulary of the run or preset that it starts with.

Keras is imported for presets only.
"""

import dataclasses
from typing import Any

import numpy as np

import strategies
from zoo.config import augmentation, registry, task_facts
from zoo.config.train_config import TrainConfig, flag
from zoo.console.cli import say
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, load, recording
from zoo.data.stored.column import PART
from zoo.data.text import Vocabulary
from zoo.runs import examples
from zoo.runs.folder import RunFolder, continued
from zoo.runs.vocabularies import read_spec, read_target_vocabulary


def load_data(config: TrainConfig, own_model: bool = False) -> Dataset:
    """Return the data of a training.

    With `init_from`, texts are split by the vocabulary of that run, so that a row of its embedding stands for the same
    word, and have its sequence length unless `sequence_length` is given. With a preset they are split by its tokenizer.
    A resumed training has the vocabulary in its own folder and does not need the other run.

    Args:
        config: Resolved configuration.
        own_model: Whether a model of one's own learns from them.

    Raises:
        UsageError: Data that cannot be read, or that the options do not fit; tokens of another kind than the run's.
    """
    found: dict[str, Any] = {}
    preset = config.model in registry.HUB_MODELS
    if config.init_from or preset:
        run = continued(config) or (RunFolder(config.init_from) if config.init_from else None)
        found = _of_run(run) if run else _of_preset(config)
        vocabulary = found.get("vocabulary")
        if vocabulary is not None and config.tokens not in (None, vocabulary.tokens):
            raise UsageError(
                f"--tokens {config.tokens}: expected {vocabulary.tokens}, the tokens of"
                f" {config.init_from or 'the preset'}, whose vocabulary is used for these texts"
            )
    run = continued(config)
    if run and (config.accept_changed_data or examples.accepted_splits(run)):
        found = _as_begun(run)
    data = load(config, num_classes=config.settings.get("num_classes"), own_model=own_model, **found)
    check_data(config, data)
    return data


def with_filled_batch(config: TrainConfig, data: Dataset) -> TrainConfig:
    """Return a configuration whose batch of the default size the training examples fill, and tell of a smaller one.

    Args:
        config: Resolved configuration whose batch size nobody chose.
        data: Data of the training.
    """
    count = len(data.train)
    size = 2 ** max(count.bit_length() - 1, 0)  # the largest power of two that the examples fill
    if count >= config.batch_size or size < strategies.replicas_without_looking(
        config.strategy, config.virtual_devices
    ):
        return config
    say(f"batches of {size} instead of the default {config.batch_size}, as there are {count} training examples")
    return dataclasses.replace(config, batch_size=size)


def check_data(config: TrainConfig, data: Dataset) -> None:
    """Raise UsageError for options that these data do not allow.

    Args:
        config: Resolved configuration.
        data: Data of the training.
    """
    spec = data.spec
    if not len(data.test):
        raise UsageError(f"--test-split {config.test_split:g}: expected test examples of {spec.name}, received none")
    if config.early_stopping and not len(data.validation):
        raise UsageError(f"--early-stopping {config.early_stopping}: expected validation examples, received none")
    augmentation.check_inputs(f"{config.augmented_by} with {spec.name}", config.augmentation, spec.task, spec.kind)
    _check_range(config, data)
    for name in ("class_weights", "sampling"):
        if getattr(config, name) == "balanced" and not task_facts.of(spec.task).classifies:
            raise UsageError(f"{flag(name)} balanced: expected data with classes, {spec.name} is for {spec.task}")
    if config.sampling == "balanced" and spec.per_step:
        raise UsageError(f"--sampling balanced: expected one label for each example, {spec.name} has one for each step")


def _check_range(config: TrainConfig, data: Dataset) -> None:
    """Raise UsageError for images that words would cut off: floats that are no pixels in [0, 1]."""
    words = [word.name for word in config.augmentation if word.needs_pixels]
    if not words or not data.train.in_memory or data.train.x.dtype == np.uint8:
        return
    few = data.train.x if data.train.in_memory else data.train.x[:PART]
    low, high = float(few.min()), float(few.max())
    if low < 0 or high > 1:
        raise UsageError(
            f"{config.augmented_by}: {words[0]} expects images of bytes, or pixels from 0 to 1; {data.spec.name} has"
            f" values from {low:g} to {high:g}"
        )


def _as_begun(run: RunFolder) -> dict[str, Any]:
    """Return the form, the vocabulary and the splits of a run whose data changed."""
    spec, vocabulary = read_spec(run)
    splits = examples.splits(run)
    if splits is None:
        raise UsageError(
            f"--accept-changed-data: {run.path} does not tell which examples it has in which split; start anew"
        )
    return {"like": spec, "vocabulary": vocabulary, "splits": splits}


def recorded(data: Dataset) -> Dataset:
    """Return data with the record of what was read, completed by the examples that several splits have."""
    found = data.reading or recording.of(data)
    return dataclasses.replace(data, reading=dataclasses.replace(found, duplicates=recording.duplicates(data)))


def _of_run(run: RunFolder) -> dict[str, Any]:
    """Return the vocabularies and sequence lengths of a run on texts; nothing for other runs."""
    spec, vocabulary = read_spec(run)
    if vocabulary is None:
        return {}
    if spec.kind == "image":  # captions have a length of their own
        return {"vocabulary": vocabulary}
    return {
        "vocabulary": vocabulary,
        "target_vocabulary": _target(run, spec, vocabulary),
        "lengths": (spec.input_shape[0], spec.target_shape[0] - 2 if spec.kind == "pairs" else 0),
    }


def _target(run: RunFolder, spec: DataSpec, vocabulary: Vocabulary) -> Vocabulary | None:
    """Return the vocabulary of the target texts, which may be that of the source texts."""
    shared = spec.vocabulary_sha256 == spec.target_vocabulary_sha256
    return vocabulary if shared else read_target_vocabulary(run, spec)


def _of_preset(config: TrainConfig) -> dict[str, Any]:
    """Return the tokenizer of a preset, for both sides of pairs."""
    from zoo.hub.vocabulary import PresetVocabulary

    vocabulary = PresetVocabulary.from_preset(config.settings["preset"])
    return {"vocabulary": vocabulary, "target_vocabulary": vocabulary}


def facts(config: TrainConfig) -> dict[str, str]:
    """Return facts about the initial weights that the workers of one training must share, by option."""
    if config.init_from is None or config.resume:
        return {}
    return {"--init-from": RunFolder(config.init_from).read_metrics()["model_sha256"]}
