"""The data of a training, and what it takes over of what it begins with. Keras for presets alone."""

from typing import Any

from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, load
from zoo.data.text import Vocabulary
from zoo.runs.folder import RunFolder, continued
from zoo.runs.vocabularies import read_spec, read_target_vocabulary


def load_data(config: TrainConfig) -> Dataset:
    """Read the data of a training.

    With `init_from`, texts are cut into the tokens of that run, so that a row of its embedding means the same word, and
    into as many as it was trained on unless `sequence_length` says otherwise; with a preset, by its tokenizer. What a
    training has begun with lies in its own folder: continued, it needs the other run no more.

    Raises:
        UsageError: data that cannot be read, or that are to be cut in another way than the run's.
    """
    found: dict[str, Any] = {}
    preset = config.model in registry.HUB_MODELS
    if config.init_from or preset:
        run = continued(config) or (RunFolder(config.init_from) if config.init_from else None)
        found = _of_run(run) if run else _of_preset(config)
        vocabulary = found.get("vocabulary")
        if vocabulary is not None and config.tokens not in (None, vocabulary.tokens):
            raise UsageError(
                f"--tokens {config.tokens}: expected {vocabulary.tokens}, as {config.init_from or 'the preset'} was"
                " trained on, whose vocabulary these texts take over"
            )
    return load(config, num_classes=config.settings.get("num_classes"), share=config.share, **found)


def _of_run(run: RunFolder) -> dict[str, Any]:
    """Return the vocabularies and lengths of a run on texts."""
    spec, vocabulary = read_spec(run)
    if vocabulary is None:
        return {}
    if spec.kind == "image":  # of captions, whose length is theirs
        return {"vocabulary": vocabulary}
    return {
        "vocabulary": vocabulary,
        "target_vocabulary": _target(run, spec, vocabulary),
        "lengths": (spec.input_shape[0], spec.target_shape[0] - 2 if spec.kind == "pairs" else 0),
    }


def _target(run: RunFolder, spec: DataSpec, vocabulary: Vocabulary) -> Vocabulary | None:
    shared = spec.vocabulary_sha256 == spec.target_vocabulary_sha256
    return vocabulary if shared else read_target_vocabulary(run, spec)


def _of_preset(config: TrainConfig) -> dict[str, Any]:
    """Return the tokenizer of a preset, for both sides of pairs."""
    from zoo.hub.vocabulary import PresetVocabulary

    vocabulary = PresetVocabulary.from_preset(config.settings["preset"])
    return {"vocabulary": vocabulary, "target_vocabulary": vocabulary}


def facts(config: TrainConfig) -> dict[str, str]:
    """Return what the workers of one training must agree on of the run that it begins with."""
    if config.init_from is None or config.resume:
        return {}
    return {"--init-from": RunFolder(config.init_from).read_metrics()["model_sha256"]}
