"""Form of a run's data and its vocabularies, read from its folder without Keras."""

from pathlib import Path

from zoo.config import registry
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.data.text import Vocabulary
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256


def read_spec(run: RunFolder) -> tuple[DataSpec, Vocabulary | None]:
    """Return the form of a run's data, and its vocabulary (of the sources, for pairs) if it has one.

    Raises:
        UsageError: config.json does not describe the data, or the vocabulary is not the one that the run was trained
            with.
    """
    try:
        spec = DataSpec.from_json(run.read_config()["data"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{run.config_file} is damaged: its description of the data: {error}") from None
    return spec, _read_vocabulary(run.vocabulary_file, spec.vocabulary_size, spec.vocabulary_sha256)


def read_target_vocabulary(run: RunFolder, spec: DataSpec) -> Vocabulary | None:
    """Return the vocabulary of a run's targets, None if it was not trained on pairs.

    Raises:
        UsageError: The vocabulary is not the one that the run was trained with.
    """
    if spec.kind != "pairs":
        return None
    shared = spec.target_vocabulary_sha256 == spec.vocabulary_sha256
    path = run.vocabulary_file if shared else run.target_vocabulary_file
    return _read_vocabulary(path, spec.target_vocabulary_size, spec.target_vocabulary_sha256)


def _read_vocabulary(path: Path, size: int, recorded: str) -> Vocabulary | None:
    """Read a vocabulary and check its number of tokens and its SHA-256, which runs of early versions do not record."""
    if not path.is_file() and not recorded:
        return None
    if not path.is_file():
        raise UsageError(f"{path}: expected the vocabulary that the run was trained with, found no such file")
    if recorded and sha256(path) != recorded:
        raise UsageError(f"{path} was altered or is another run's: its SHA-256 is not the one in config.json")
    vocabulary = _load(path)
    if len(vocabulary) != size:
        raise UsageError(f"{path}: expected the {size} tokens that the run was trained with, found {len(vocabulary)}")
    return vocabulary


def _load(path: Path) -> Vocabulary:
    with path.open("rb") as file:
        begin = file.read(40)
    if b"keras_hub" not in begin:
        return Vocabulary.load(path)
    registry.check_hub(path)
    from zoo.hub.vocabulary import PresetVocabulary

    return PresetVocabulary.load(path)
