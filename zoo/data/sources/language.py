"""Data for language models: a text as windows of token ids, with the next id as the target of each."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.reading import Tally
from zoo.data.sources import tables, tfds
from zoo.data.sources.folders import split_files, visible_files
from zoo.data.splits import set_validation
from zoo.data.taken import Taken
from zoo.data.text import Vocabulary

# Default number of tokens in a window.
WINDOW = 128


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read texts.

    Args:
        config: Names the texts and how they are split.
        taken: Form and vocabulary that they take over.

    Returns:
        Data set whose splits are windows, see `windows`.

    Raises:
        UsageError: Data that are no texts, or a training text of fewer than two tokens.
    """
    like, vocabulary = taken.like, taken.vocabulary
    taken.tally.unit = "windows"
    texts = _held_out(config, _read(config, taken.tally), taken.tally)
    if vocabulary is None:
        tokens = catalogue.tokens_of(config)
        vocabulary = Vocabulary.train(texts["train"].splitlines(keepends=True), config.vocabulary_size, tokens)
    length = like.input_shape[0] if like else taken.length(config) or WINDOW
    if length < 2:  # nothing would be attended to
        raise UsageError(f"--sequence-length {length}: expected windows of 2 tokens or more, received {length}")
    splits = {split: windows(ids_of(vocabulary, text), length) for split, text in texts.items()}
    if not len(splits["train"]) and not like:
        raise UsageError(f"{config.data_name}: expected a training text with at least two tokens, received fewer")
    spec = DataSpec(
        name=config.data_name,
        kind="tokens",
        input_shape=(length,),
        class_names=(),
        per_step=True,
        vocabulary_size=len(vocabulary),
        task="language_model",
        target_shape=(length,),
        target_vocabulary_size=len(vocabulary),
        vocabulary_sha256=vocabulary.sha256,
    )
    return Dataset(dataclasses.replace(like, name=spec.name) if like else spec, **splits, vocabulary=vocabulary)


def ids_of(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """Return the token ids of a text or a prompt, (tokens,) int32.

    The text is encoded line by line. So lines are encoded on several cores, and a prompt is split like the text.

    Args:
        vocabulary: Vocabulary of the text.
        text: Text to encode.
    """
    rows = vocabulary.rows(text.splitlines(keepends=True))
    return np.fromiter(itertools.chain.from_iterable(rows), np.int32)


def windows(ids: np.ndarray, length: int) -> Split:
    """Split a text into windows that do not overlap.

    Args:
        ids: Token ids of the whole text, (tokens,).
        length: Number of tokens in a window.

    Returns:
        Windows x, (windows, length) int32, and targets y of the same shape: the id that follows each id of x. Every id
        of the text except the first is a target once. The last window is padded with 0, which is not a target.
    """
    count = max(0, -(-(len(ids) - 1) // length))
    filled = np.zeros(count * length + 1, np.int32)
    filled[: len(ids)] = ids[: len(filled)]
    return Split(filled[:-1].reshape(count, length), filled[1:].reshape(count, length))


def moved(split: Split, by: int) -> Split:
    """Return windows of the same text that begin `by` tokens later; the first tokens move behind the end of the text.

    Args:
        split: All windows of one text, in order; see `windows`.
        by: Number of tokens, from 0 to below the length of a window.
    """
    ids = np.roll(np.append(split.x, split.y[-1, -1]), -by)
    return Split(ids[:-1].reshape(split.x.shape), ids[1:].reshape(split.x.shape))


def _read(config: TrainConfig, tally: Tally) -> dict[str, str]:
    """Return the text of each split, with a single split "all" if the data has no splits."""
    if config.data is None:
        return tfds.read_plain(
            config.dataset,
            catalogue.data_dir(config),
            text_column=config.text_column,
            test_split_name=config.test_split_name,
        )
    splits = _read_files(config.data, tally)
    if config.validation_data is not None:
        given = "\n".join(_read_files(config.validation_data, tally).values())
        set_validation(splits, {"all": given}, config, tally)
    return splits


def _read_files(path: Path, tally: Tally) -> dict[str, str]:
    """Read a text file, a folder with train.txt, validation.txt and test.txt, or a folder's files as one text."""
    if path.is_file():
        return {"all": _text(path)}
    named = split_files(path, (catalogue.TEXT,), tally)
    if "train" in named:
        return {split: _text(file) for split, file in named.items()}
    if named:
        names = [file.name for file in named.values()]
        tally.notes.append(f"{few(names)} without a train{catalogue.TEXT} beside: read as part of the whole text")
    return {"all": "\n".join(_text(file) for file in visible_files(path, (catalogue.TEXT,)))}


def _text(path: Path) -> str:
    text = tables.read_text(path)
    if not text.strip():
        raise UsageError(f"{path}: expected a text, received an empty file")
    return text


def _held_out(config: TrainConfig, splits: dict[str, str], tally: Tally) -> dict[str, str]:
    """Return train, validation and test. Splits that are not given are cut off the end of the text."""
    if "test" not in splits:
        whole = splits.pop("all", None) or splits["train"]
        splits["train"], splits["test"] = _cut(whole, config.test_split)
        tally.made["test"] = f"the last {config.test_split:.0%} of the text"
    if "validation" not in splits:
        splits["train"], splits["validation"] = _cut(splits["train"], config.validation_split)
        tally.made["validation"] = f"the last {config.validation_split:.0%} of the training text"
    return {split: splits[split] for split in ("train", "validation", "test")}


def _cut(text: str, share: float) -> tuple[str, str]:
    place = len(text) - round(len(text) * share)
    return text[:place], text[place:]
