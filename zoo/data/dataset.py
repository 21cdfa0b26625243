"""The form that every source ends in."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.config.task_facts import CLASSES
from zoo.console.errors import UsageError
from zoo.data.text import Vocabulary

Kind = Literal["image", "vector", "sequence", "tokens", "pairs", "triples"]


@dataclass(frozen=True)
class Split:
    """Examples and their labels.

    Args:
        x: (examples, ...). Images are uint8 and become pixels in [0, 1] in the batches; token ids are int32;
            anything else is float32 and passes as it is.
        y: (examples,) class indices, or (examples, time) for one label a step; int32. For translation the ids of
            begin, tokens, end and padding 0, (examples, time + 1); for a language model the id that follows each of
            x, (examples, time), 0 after the last; for triples the entity that answers (entity, relation). For images
            with captions (examples, 1 + captions): the target, then which captions of the set the image has, -1 behind
            the last. For imitation images, (examples, height, width, channels) float32.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: np.ndarray) -> "Split":
        """Return the examples at these indices."""
        return Split(self.x[indices], self.y[indices])


@dataclass(frozen=True)
class DataSpec:
    """What a trained model must know of its data; saved in the run folder.

    Args:
        name: for titles.
        kind: image, vector, sequence (time, features), tokens, pairs of tokens and tokens, or triples.
        input_shape: of one example: (height, width, channels), (features,), (time, features) or (time,).
        class_names: in the order of the class indices; of triples the entities.
        per_step: one label a step instead of one an example.
        vocabulary_size: number of token ids, 0 where the inputs are not tokens.
        task: what is learnt: a class, a target text of other tokens, the next token, which caption is of an image, to
            draw such images, or an entity.
        target_shape: of one example's target, where that is tokens: (time + 1,) of pairs, (time,) of a language model
            or of a caption.
        target_vocabulary_size: number of token ids of the targets, 0 where they are not tokens.
        vocabulary_sha256: of the vocabulary's file, empty where there is none.
        target_vocabulary_sha256: of the target vocabulary's file; the same where both are one.
        relations: of triples; the inverse of each has an id that is larger by their number.
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    per_step: bool = False
    vocabulary_size: int = 0
    task: str = CLASSES
    target_shape: tuple[int, ...] = ()
    target_vocabulary_size: int = 0
    vocabulary_sha256: str = ""
    target_vocabulary_sha256: str = ""
    relations: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_dtype(self) -> str:
        """The dtype that a model of this data is called with."""
        return "int32" if self.kind in ("tokens", "pairs", "triples") else "float32"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataSpec":
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class Captions:
    """What is said of the images of a set.

    Args:
        texts: every caption once.
        ids: of their tokens, (captions, time) int32, padded with 0.
        of_class: where captions are made from classes, which are of each.
    """

    texts: tuple[str, ...]
    ids: np.ndarray
    of_class: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Three splits of one set; each may be without examples.

    Args:
        spec: the form of the examples.
        train: the training examples.
        validation: what epochs are compared on.
        test: what results are measured on.
        vocabulary: of texts, of the sources in pairs.
        target_vocabulary: of the targets in pairs; may be `vocabulary` itself.
        references: in pairs, the target texts of each split as they were written, in order.
        captions: of images that are matched with them.
        left_out: of triples, how many of each split cannot be asked about.
    """

    spec: DataSpec
    train: Split
    validation: Split
    test: Split
    vocabulary: Vocabulary | None = None
    target_vocabulary: Vocabulary | None = None
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    captions: Captions | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def save_vocabularies(self, path: Path, target_path: Path) -> None:
        """Write the vocabularies that there are, a shared one to `path` alone."""
        if self.vocabulary is not None:
            self.vocabulary.save(path)
        if self.target_vocabulary is not None and self.target_vocabulary is not self.vocabulary:
            self.target_vocabulary.save(target_path)

    def split(self, name: str) -> Split:
        """Return a split by name.

        Raises:
            UsageError: there is no such split, or it has no examples.
        """
        if name not in ("train", "validation", "test"):
            raise UsageError(f"--split: expected train, validation or test, received {name!r}")
        chosen = getattr(self, name)
        if not len(chosen):
            raise UsageError(f"--split: {self.spec.name} has no {name} examples here")
        return chosen


def from_tf_data(
    name: str,
    train: Iterable,
    test: Iterable,
    validation: Iterable = (),
    class_names: Sequence[str] | None = None,
    task: str = CLASSES,
) -> Dataset:
    """Read finite, batched `tf.data` sets of one's own (or any iterables of batches) into memory.

    Args:
        name: for titles.
        train: batches (x, y) of features or uint8 pixels, and class indices.
        test: the same.
        validation: the same; none where it is left out.
        class_names: in the order of the class indices; default, the indices.
        task: what is learnt from them.

    Raises:
        UsageError: a set without examples, values that are not finite, or labels out of range.
    """
    splits = [_collected(name, batches) for batches in (train, test)]
    splits.insert(1, _collected(name, validation) if validation else splits[0].take(np.arange(0)))
    classes = class_names or [str(i) for i in range(1 + max(int(split.y.max(initial=0)) for split in splits))]
    for split in splits:
        check_labels(name, split.y, classes)
        check_finite(name, split.x)
    x, y = splits[0].x, splits[0].y
    tokens = np.issubdtype(x.dtype, np.integer) and x.ndim == 2
    kinds: dict[int, Kind] = {2: "tokens" if tokens else "vector", 3: "sequence", 4: "image"}
    vocabulary_size = 1 + max(int(split.x.max(initial=0)) for split in splits) if tokens else 0
    spec = DataSpec(name, kinds[x.ndim], x.shape[1:], tuple(classes), y.ndim == 2, vocabulary_size, task)
    return Dataset(spec, *splits)


def _collected(name: str, batches: Iterable) -> Split:
    parts = [(np.asarray(x), np.asarray(y)) for x, y in batches]
    if not parts:
        raise UsageError(f"{name}: expected batches of examples, received none")
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    if x.dtype != np.uint8:
        x = x.astype(np.int32 if np.issubdtype(x.dtype, np.integer) else np.float32)
    return Split(x, y.astype(np.int32))


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the whole batches in an epoch; the remainder, another one each epoch, is left out.

    Raises:
        UsageError: fewer examples than one batch.
    """
    if examples < batch_size:
        raise UsageError(f"--batch-size {batch_size}: expected at most the {examples} training examples, received more")
    return examples // batch_size


def check_labels(name: str, y: np.ndarray, class_names: Sequence[str]) -> None:
    """Raise UsageError unless every label is an index into `class_names`."""
    if not len(y):
        return
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= len(class_names):
        raise UsageError(
            f"{name}: labels out of range: expected 0 to {len(class_names) - 1} for {len(class_names)} classes,"
            f" received {low} to {high}"
        )


def check_finite(name: str, x: np.ndarray) -> None:
    """Raise UsageError if an array of floats holds NaN or infinity, naming the first example."""
    if not np.issubdtype(x.dtype, np.floating):
        return
    bad = ~np.isfinite(x)
    if bad.any():
        first = int(np.argwhere(bad)[0][0])
        raise UsageError(
            f"{name}: expected finite numbers, received {int(bad.sum())} NaN or infinite value(s),"
            f" the first in example {first}"
        )
