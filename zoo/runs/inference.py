"""Use of a trained run on new examples: reading them in the form of its data, and computing its outputs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import task_facts
from zoo.config.task_facts import TABLES
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, Split, images, load
from zoo.data.batches import streamed
from zoo.data.batches.pipeline import evaluation_batches
from zoo.data.casts import check_tokens
from zoo.data.reading import Tally
from zoo.data.sound import clips, formats
from zoo.data.sources import arrays, tables
from zoo.data.sources.language import ids_of
from zoo.data.tabular import rows
from zoo.data.text import Vocabulary, check_text, longer
from zoo.runs import examples, windows
from zoo.runs.folder import RunFolder
from zoo.runs.inputs import check_file, is_file
from zoo.runs.vocabularies import read_spec, read_target_vocabulary

# Larger than in training because no gradients are kept. Still larger batches are no faster.
BATCH = 512


def logits_of(model: keras.Model, split: Split, batch_size: int = BATCH) -> np.ndarray:
    """Return the outputs of a model for the examples of a split, in order, as float32."""
    with streamed.told():
        outputs = model.predict(evaluation_batches(split, batch_size=batch_size), verbose=0)
    return np.asarray(outputs, np.float32)[: len(split)]  # on JAX the last batch is padded


def load_like(run: RunFolder, config: TrainConfig, *, unlabelled: bool = False) -> Dataset:
    """Load data in the form that a run was trained on.

    Args:
        run: Run folder.
        config: Configuration that names the data.
        unlabelled: Whether data without labels are taken, see `DataSpec.unlabelled`.

    Raises:
        UsageError: Data of another kind or shape, with other classes or without labels; a run on data that the
            configuration does not name.
    """
    spec, vocabulary = read_spec(run)
    stored = run.read_config()["config"]
    is_own = config.data is None and config.dataset == stored.dataset
    if is_own and spec.name != stored.data_name:  # a configuration without data names the embedded digits
        raise UsageError(
            f"{run.path}: expected a run on data that can be found again, this one was trained on {spec.name!r}, which"
            " was given as an object; give --data where the command takes it, or train with zoo.api.train, which keeps"
            " arrays"
        )
    own = (config.data, config.dataset) == (stored.data, stored.dataset)
    splits = examples.accepted_splits(run) if own else None
    targets = read_target_vocabulary(run, spec)
    data = load(config, like=spec, vocabulary=vocabulary, target_vocabulary=targets, splits=splits)
    if data.spec.unlabelled and not unlabelled:
        raise UsageError(f"{data.spec.name}: expected examples with labels, these have none")
    if own and (count := examples.moved_from_training(run, data)):
        print(
            f"{data.spec.name}: the data changed since {run.path} was trained, and their splits with them: it was"
            f" trained on {count:,} of these {len(data.test):,} test examples, so its scores on new data may be lower;"
            " undo the change, or train again",
            file=sys.stderr,
        )
    return data


def read_inputs(
    inputs: Sequence[str],
    spec: DataSpec,
    vocabulary: Vocabulary | None,
    text_column: str,
    config: TrainConfig | None = None,
) -> tuple[list[str], np.ndarray]:
    """Read examples from inputs on the command line.

    Args:
        inputs: Image files, files of sound, .npz files with an array x, tables with a column of texts, or texts; for a
            run on tables other tables, or the words NAME=VALUE of one row.
        spec: Form of the data that the run was trained on.
        vocabulary: Vocabulary of the run, None if it is not on texts.
        text_column: Column of texts in tables. Several columns, separated by commas, are joined by spaces.
        config: Configuration of the run, for tables of samples in time from which windows are cut.

    Returns:
        Name of each example, and the examples, (examples, ...).

    Raises:
        UsageError: An input that does not exist, cannot be read, or has another form.
    """
    if spec.kind == "table":
        return rows.given(inputs, spec.inputs)
    names, parts = [], []
    for text in inputs:
        if config is not None and windows.is_recording(text, spec):
            found, x = windows.of_file(Path(text), spec, config)
        else:
            found, x = _read_one(text, spec, vocabulary, text_column)
        names += found
        parts.append(x)
    return names, np.concatenate(parts)


def _read_one(
    text: str, spec: DataSpec, vocabulary: Vocabulary | None, text_column: str
) -> tuple[list[str], np.ndarray]:
    path = Path(text)
    suffix, in_file = path.suffix.lower(), is_file(path)
    if suffix == ".npz" and in_file:
        tally = Tally()
        kind, splits, _ = arrays.read_npz(path, labels=False, tally=tally)
        split = splits.get("all", splits.get("train"))
        told = [f"{count:,} {what}" for what, count in tally.changed.items()]
        told += tally.notes if kind == "image" else []  # whether pixels lie beyond those of files
        told += ["of its splits the training one alone is read"] if len(splits) > 1 and "train" in splits else []
        if told:
            print(f"INPUT {path}: {', '.join(told)}", file=sys.stderr)
        if not len(split):
            raise UsageError(f"INPUT {path}: expected at least one example, received none in x")
        if (kind, split.x.shape[1:]) != (spec.kind, spec.input_shape):
            raise UsageError(
                f"{path}: expected {spec.kind} inputs of shape {spec.input_shape},"
                f" received {kind} of {split.x.shape[1:]}"
            )
        if kind == "tokens":
            check_tokens(f"{path}: x", split.x, spec.vocabulary_size)
        return [f"{path}[{i}]" for i in range(len(split))], split.x
    if vocabulary is not None:
        if suffix in TABLES and in_file:
            (texts,) = tables.read_columns(path, text_column, lists=(text_column,))
            return [f"{path}[{i}]" for i in range(len(texts))], _encoded(text, texts, spec, vocabulary)
        if not text.strip():
            raise UsageError("INPUT: expected a text, received an empty one")
        return [text], _encoded(text[:40], [check_text("INPUT", text)], spec, vocabulary)
    check_file(text, spec.kind)
    if spec.kind == "sound":
        return [text], clip_of(path, spec)[None]
    try:
        height, width, channels = spec.input_shape
        return [text], images.decode(path, (height, width), channels, spec.fit)[None]
    except images.Unreadable as error:
        raise UsageError(f"INPUT {text}: expected an image or an .npz file, and it cannot be read: {error}") from None


def clip_of(path: Path, spec: DataSpec) -> np.ndarray:
    """Return the clip that a file of sound becomes in the form of a run, (samples,) int16, and tell what is changed.

    Raises:
        UsageError: The file cannot be read.
    """
    (samples,) = spec.input_shape
    try:
        header = formats.header(path)
        x = clips.mono(path.read_bytes(), spec.rate)
    except (formats.Unreadable, OSError) as error:
        raise UsageError(f"INPUT {path}: expected a file of sound, and it cannot be read: {error}") from None
    told = [f"resampled from {header.rate:,} to {spec.rate:,} Hz"] if header.rate != spec.rate else []
    told += [f"the mean of its {header.channels} channels"] if header.channels > 1 else []
    seconds = f"{samples / spec.rate:.4g} s"
    told += [f"of its {len(x) / spec.rate:.4g} s the middle {seconds}"] if len(x) > samples else []
    told += [f"its {len(x) / spec.rate:.4g} s padded to {seconds}"] if len(x) < samples else []
    if told:
        print(f"INPUT {path}: {', '.join(told)}", file=sys.stderr)
    return clips.as_clip(x, samples)


def _encoded(name: str, texts: Sequence[str], spec: DataSpec, vocabulary: Vocabulary) -> np.ndarray:
    """Return the token ids of texts, (texts, time). Unknown tokens and texts that are cut are reported."""
    (length,) = spec.input_shape
    whole = task_facts.of(spec.task).whole_texts
    ids = [ids_of(vocabulary, text) for text in texts] if whole else vocabulary.rows(texts)
    tell_unknown(f"INPUT {name}", ids, vocabulary)
    if cut := longer(ids, length):
        print(
            f"INPUT {name}: {cut:,} of {len(ids):,} texts are longer than the {length} tokens that this run takes and"
            " are cut",
            file=sys.stderr,
        )
    return vocabulary.padded(ids, length)


def tell_unknown(name: str, rows: Sequence[Sequence[int]], vocabulary: Vocabulary) -> None:
    """Report on standard error how many tokens of some texts are not in the vocabulary.

    Args:
        name: Name of the texts.
        rows: Ids of the tokens of each text.
        vocabulary: Vocabulary of the run.
    """
    if unknown := sum(list(row).count(vocabulary.unknown_id) for row in rows):
        total = sum(map(len, rows))
        print(f"{name}: {unknown:,} of {total:,} tokens are not in the run's vocabulary", file=sys.stderr)


def as_floats(tensor: Any) -> np.ndarray:
    """Return a tensor as an array, in float32 or float64."""
    value = keras.ops.convert_to_numpy(tensor)
    return np.asarray(value, np.result_type(value.dtype, "float32"))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
