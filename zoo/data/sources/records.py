"""Examples of classes in files of records: TFRecord, ArrayRecord and tar files, here or elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zoo.config.records import PICTURE, Schema, parse
from zoo.config.task_facts import Fit
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import images
from zoo.data.casts import as_int32, plain_names, tell_odd_names
from zoo.data.dataset import Split
from zoo.data.reading import Tally, sample
from zoo.data.stored import shards
from zoo.data.stored.decoders import Numbers, Pictures
from zoo.data.stored.shards import Indexed

# Kind of inputs that are numbers, by the number of their axes.
_KINDS = {1: "vector", 2: "sequence", 3: "image"}


def read(
    config: TrainConfig,
    path: Path,
    image_shape: tuple[int, ...] | None,
    class_names: tuple[str, ...] | None,
    fit: Fit,
    tally: Tally,
) -> tuple[str, dict[str, Split], tuple[str, ...] | None]:
    """Read the files of a set.

    Args:
        config: Has the schema of the records and the size of pictures.
        path: File, folder or address.
        image_shape: Shape of pictures; None for `--image-size`, or the most frequent one.
        class_names: Names of the classes; None for those of the records.
        fit: How pictures of another aspect ratio are brought to that shape.
        tally: Takes what was read.

    Returns:
        Kind of the examples, splits by name, and the names of the classes, None if labels are numbers.

    Raises:
        UsageError: Files that are damaged, or records that do not have the fields of the schema.
    """
    found = shards.found(path)
    schema = parse(config.schema)
    indexed = {split: shards.indexed(found.format, files, schema) for split, files in found.files.items()}
    first = next(iter(indexed.values()))
    if absent := shards.missing(found):
        tally.notes.append(f"{len(absent):,} files of the set are missing: {few(absent)}")
    told = f"{found.format} files with x={first.schema.x}, y={first.schema.y}"
    tally.notes.append(f"{told}, as {'--schema says' if config.schema else 'the first record shows'}")
    return made(config, indexed, image_shape, class_names, fit, tally)


def made(
    config: TrainConfig,
    indexed: Mapping[str, Indexed],
    image_shape: tuple[int, ...] | None,
    class_names: tuple[str, ...] | None,
    fit: Fit,
    tally: Tally,
) -> tuple[str, dict[str, Split], tuple[str, ...] | None]:
    """Return what `read` does, of files whose records are known."""
    indexed = {split: _plain(part, tally) for split, part in indexed.items()}
    first = next(iter(indexed.values()))
    for split, part in indexed.items():
        if (part.schema.type, part.shape) != (first.schema.type, first.shape):
            raise UsageError(
                f"{config.data_name}: expected records of one form in every split, received {first.schema.type}"
                f" {list(first.shape)} and in {split} {part.schema.type} {list(part.shape)}"
            )
    decoder: Pictures | Numbers
    if first.schema.type == PICTURE:
        kind, tally.unit = "image", "pictures"
        if image_shape is None:
            chosen = sample(len(first.labels), images.LOOKED_AT)
            contents = [bytes(content) for content in first.source.read(chosen)]
            size, channels = images.common_shape(contents, tally, len(first.labels))
            image_shape = (*((config.image_size,) * 2 if config.image_size else size), channels)
        decoder = Pictures(tuple(image_shape), fit)
    else:
        tally.unit = "records"
        decoder = shards.decoder_of(first)
        kind = _KINDS[len(decoder.shape)]
        if decoder.dtype == np.uint8 and kind != "image":
            raise UsageError(
                f"--schema: expected the shape (height, width, channels) of bytes, received {list(decoder.shape)}"
            )
        if config.image_size:
            raise UsageError(
                f"--image-size {config.image_size}: expected encoded pictures, received {first.schema.type}"
            )
    names = class_names or indexed.get("train", first).names
    if class_names is None and names is not None:
        tell_odd_names(names, tally)
    splits = {
        split: shards.split_of(part, _classes(config.data_name, split, part, names), decoder)
        for split, part in indexed.items()
    }
    return kind, splits, names


def _plain(part: Indexed, tally: Tally) -> Indexed:
    """Return records whose labels have no spaces around them and have Unicode's composed form."""
    if part.names is None:
        return part
    plain = plain_names(part.names, "labels", Tally())
    other = np.array([a != b for a, b in zip(part.names, plain, strict=True)])
    plain_names([part.names[label] for label in part.labels[other[part.labels]]], "labels", tally)
    names = tuple(sorted(set(plain)))
    return replace(part, names=names, labels=np.array([names.index(name) for name in plain], np.int32)[part.labels])


def _classes(name: str, split: str, part: Indexed, names: Sequence[str] | None) -> np.ndarray:
    """Return the class index of each record of a split."""
    if part.names is None:
        return as_int32(f"{name}: {split}", part.labels)
    index = {known: i for i, known in enumerate(names or ())}
    if strange := [known for known in part.names if known not in index]:
        raise UsageError(f"{name}: class {strange[0]!r} of the {split} split is not one of {few(list(index))}")
    return np.array([index[known] for known in part.names], np.int32)[part.labels]


def schema_of(x: str, y: str) -> Schema:
    """Return the schema of pictures with labels by the names of their fields."""
    return Schema(x, y, PICTURE)


def labelled(part: Indexed) -> bool:
    """Return whether a split has labels; competitions publish test splits in which every label is -1."""
    return part.names is not None or bool((part.labels != -1).any())
