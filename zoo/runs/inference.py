"""A trained run on other examples: reading them in the form it was trained on, and its outputs."""

import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from zoo.config.catalogue import TABLES
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, Split, images, load
from zoo.data.batches.pipeline import evaluation_batches
from zoo.data.sources import arrays, tables
from zoo.data.sources.language import ids_of
from zoo.data.text import Vocabulary, longer
from zoo.runs.folder import RunFolder
from zoo.runs.vocabularies import read_spec, read_target_vocabulary

# Evaluation keeps no gradients, so its batches can be larger than training's; past this size nothing is gained.
BATCH = 512


def logits_of(model: keras.Model, split: Split) -> np.ndarray:
    """Return the model's output for every example of a split, in order, float32."""
    outputs = model.predict(evaluation_batches(split, batch_size=BATCH), verbose=0)
    return np.asarray(outputs, np.float32)[: len(split)]  # on JAX the last batch is filled up


def load_like(run: RunFolder, config: TrainConfig) -> Dataset:
    """Load data in the form that a run was trained on.

    Raises:
        UsageError: data of another kind or shape, or with other classes.
    """
    spec, vocabulary = read_spec(run)
    return load(config, like=spec, vocabulary=vocabulary, target_vocabulary=read_target_vocabulary(run, spec))


def read_inputs(
    inputs: Sequence[str], spec: DataSpec, vocabulary: Vocabulary | None, text_column: str
) -> tuple[list[str], np.ndarray]:
    """Read what a user wants classified.

    Args:
        inputs: images, .npz files with x, tables with a column of texts, or, for a run on texts, texts themselves.
        spec: the form that the run was trained on.
        vocabulary: of the run.
        text_column: of the tables; several, comma-separated, are joined by a space.

    Returns:
        a name for each example, and the examples, (examples, ...).

    Raises:
        UsageError: an input that is not there, cannot be read, or has another form.
    """
    names, parts = [], []
    for text in inputs:
        found, x = _read_one(text, spec, vocabulary, text_column)
        names += found
        parts.append(x)
    return names, np.concatenate(parts)


def _read_one(
    text: str, spec: DataSpec, vocabulary: Vocabulary | None, text_column: str
) -> tuple[list[str], np.ndarray]:
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix == ".npz" and path.is_file():
        kind, splits, _ = arrays.read_npz(path, labels=False)
        split = splits.get("all", splits.get("train"))
        if (kind, split.x.shape[1:]) != (spec.kind, spec.input_shape):
            raise UsageError(
                f"{path}: expected {spec.kind} inputs of shape {spec.input_shape},"
                f" received {kind} of {split.x.shape[1:]}"
            )
        return [f"{path}[{i}]" for i in range(len(split))], split.x
    if vocabulary is not None:
        if suffix in TABLES and path.is_file():
            (texts,) = tables.read_columns(path, text_column)
            return [f"{path}[{i}]" for i in range(len(texts))], _encoded(text, texts, spec, vocabulary)
        if not text.strip():
            raise UsageError("INPUT: expected a text, received an empty one")
        return [text], _encoded(text[:40], [text], spec, vocabulary)
    if not path.is_file():
        raise UsageError(f"INPUT {text}: expected a file, found none")
    if spec.kind != "image":
        raise UsageError(f"INPUT {text}: this run takes {spec.kind} inputs, which come in an .npz file with an array x")
    try:
        height, width, channels = spec.input_shape
        return [text], images.decode(path, (height, width), channels)[None]
    except images.UNREADABLE as error:
        raise UsageError(f"INPUT {text}: expected an image or an .npz file, and it cannot be read: {error}") from None


def _encoded(name: str, texts: Sequence[str], spec: DataSpec, vocabulary: Vocabulary) -> np.ndarray:
    """Return token ids, (texts, time); what the model cannot take as it is is told of."""
    (length,) = spec.input_shape
    rows = [ids_of(vocabulary, t) for t in texts] if spec.task == "language_model" else vocabulary.rows(texts)
    tell_unknown(f"INPUT {name}", rows, vocabulary)
    if cut := longer(rows, length):
        print(
            f"INPUT {name}: {cut:,} of {len(rows):,} texts are longer than the {length} tokens that this run takes and"
            " are cut",
            file=sys.stderr,
        )
    return vocabulary.padded(rows, length)


def tell_unknown(name: str, rows: Sequence[Sequence[int]], vocabulary: Vocabulary) -> None:
    """Say on standard error how many tokens of texts, as rows of ids, the vocabulary does not have."""
    if unknown := sum(list(row).count(vocabulary.unknown_id) for row in rows):
        total = sum(map(len, rows))
        print(f"{name}: {unknown:,} of {total:,} tokens are not in the run's vocabulary", file=sys.stderr)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
