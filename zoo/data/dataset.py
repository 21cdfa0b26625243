"""`Dataset`, the form into which every source is read, with its splits and its specification."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.config.task_facts import CLASSES, FIRST_FIT, Fit
from zoo.console.errors import UsageError
from zoo.data.casts import as_float32, as_int32, check_finite, check_labels, check_tokens, numbered_classes
from zoo.data.events.form import EventsForm
from zoo.data.reading import Reading
from zoo.data.series.form import SeriesForm
from zoo.data.stored.column import Column
from zoo.data.text import Vocabulary

# Alignment in bytes of a tensor's memory (EIGEN_MAX_ALIGN_BYTES), and size from which arrays are made with it.
ALIGNMENT, ALIGNED_FROM = 64, 1 << 20
# `tf.data.INFINITE_CARDINALITY`.
ENDLESS = -1

Kind = Literal[
    "image", "vector", "sequence", "sound", "table", "tokens", "pairs", "triples", "series", "events", "arrays"
]


@dataclass(frozen=True)
class Split:
    """Examples and their labels.

    Args:
        x: Inputs (examples, ...). Images are uint8 and become pixels in [0, 1] in the batches; samples of sound are
            int16 and become numbers from -1 to 1; token ids are int32; everything else is float32 and is not changed.
        y: Labels, int32 unless stated otherwise. Classification: class indices (examples,), or (examples, time) with
            one label per time step. Translation: begin, tokens, end and padding 0, (examples, time + 1). Language
            model: the id that follows each id of x, (examples, time), and 0 after the last. Triples: the entity that
            answers the query (entity, relation). Images with captions: the target, then the indices of the image's
            captions, padded with -1, (examples, 1 + captions). Imitation: images (examples, height, width, channels),
            float32. Segmentation: the class of each pixel, (examples, height, width) uint8, 255 where it is ignored.
            Regression and several labels: float32, (examples, targets).

        marks: BLAKE2b hash of each example's inputs, (examples, 16) uint8, of examples that are read from files; equal
            whether they are kept decoded or decoded for each batch. None for arrays.
        block: Number of neighbours that stay together in the order of an epoch, because they are read together; see
            `zoo.data.batches.order`.
        groups: Name of the group of each example, (examples,) of texts: a speaker, a subject, a day. Examples of one
            group are in one split. None without groups.
        recordings: Recording that each window is from, (examples,) of whole numbers; None for other examples.

    x may be a `Column`, whose examples are decoded when they are looked at; it has the interface of an array. So may
    the masks of segmentation. A model of one's own may take a tuple, a list or a dictionary of arrays as x, and learn
    such a structure as y; y is None without labels. Everything else has one array of each.
    """

    x: Any
    y: Any
    marks: np.ndarray | None = None
    block: int = 1
    groups: np.ndarray | None = None
    recordings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(leaves(self.x)[0])

    def take(self, indices: np.ndarray) -> "Split":
        """Return the examples at these indices; those of a `Column` are not read."""
        parts = (self.x, self.y, self.marks, self.groups, self.recordings)
        x, y, marks, groups, recordings = (mapped(lambda array: taken(array, indices), part) for part in parts)
        return Split(x, y, marks, self.block, groups, recordings)

    @property
    def in_memory(self) -> bool:
        """Whether all inputs are arrays."""
        return not any(isinstance(leaf, Column) for leaf in leaves(self.x))


def taken(array: np.ndarray | Column, indices: np.ndarray) -> np.ndarray | Column:
    """Return the rows of an array at some indices, aligned so that TensorFlow need not copy them; a column stays one.

    Args:
        array: Array or column (examples, ...).
        indices: Indices (rows,).
    """
    if isinstance(array, Column):
        return array.take(indices)
    if array.dtype.hasobject or array.nbytes < ALIGNED_FROM or not isinstance(indices, np.ndarray):
        return array[indices]
    bytes_needed = len(indices) * array[:1].nbytes
    buffer = np.empty(bytes_needed + ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % ALIGNMENT
    out = buffer[begin : begin + bytes_needed].view(array.dtype).reshape(len(indices), *array.shape[1:])
    return np.take(array, indices, axis=0, out=out, mode="clip")  # the default mode makes a copy of its own


def mapped(function: Callable[[np.ndarray], Any], arrays: Any) -> Any:
    """Return a structure of arrays with a function applied to each; None stays None, and a list becomes a tuple."""
    if arrays is None:
        return None
    if isinstance(arrays, Mapping):
        return {name: mapped(function, array) for name, array in arrays.items()}
    if isinstance(arrays, tuple | list):
        return tuple(mapped(function, array) for array in arrays)  # tf.data takes a list for one tensor
    return function(arrays)


def leaves(arrays: Any) -> list[np.ndarray]:
    """Return the arrays of a structure, those of a dictionary in the order of its sorted keys, as Keras has them."""
    if arrays is None:
        return []
    if isinstance(arrays, Mapping):
        return [leaf for name in sorted(arrays) for leaf in leaves(arrays[name])]
    if isinstance(arrays, tuple | list):
        return [leaf for array in arrays for leaf in leaves(array)]
    return [arrays]


@dataclass(frozen=True)
class DataSpec:
    """The specification of a data set, which a trained model depends on; saved in the run folder.

    Args:
        name: Name for titles.
        kind: Kind of the inputs: image, vector, sequence (time, features), sound (samples), table (columns), tokens,
            pairs (source and target tokens), triples, series, events, or arrays for a model of one's own.
        input_shape: Shape of one input: (height, width, channels), (features,), (time, features), (samples,) or
            (time,).
        class_names: Class names in the order of the class indices; for triples, the entities.
        per_step: Whether there is one label per time step instead of one per example.
        vocabulary_size: Number of token ids; 0 if the inputs are not tokens.
        task: Task that the data is for.
        target_shape: Shape of one target, if targets are tokens: (time + 1,) for pairs, (time,) for a language model
            or a caption.
        target_vocabulary_size: Number of token ids of the targets; 0 if they are not tokens.
        vocabulary_sha256: SHA-256 of the vocabulary's file; empty if there is none.
        target_vocabulary_sha256: SHA-256 of the target vocabulary's file; equal to `vocabulary_sha256` if both share
            one vocabulary.
        relations: Relations of triples. The id of an inverse relation is larger by their number.
        pixel_range: What a model takes for the darkest and the brightest pixel of images of bytes.
        fit: How pictures of another aspect ratio are brought to the input shape. Specifications of version 0.1 do not
            have it; their pictures were stretched.
        columns: Names of the features, the last axis of windows of sensors; empty for other inputs.
        hop: Number of samples from one window of a recording to the next; 0 for inputs that are no windows.
        rate: Samples of sound in a second; of windows of sensors if their time tells it; otherwise 0.
        mean: Means of the features over the training examples, which models subtract; empty for pictures and texts.
        std: Standard deviations likewise, which models divide by.
        normal: Names of the classes that are normal, where anomalies are to be detected.
        false_alarm_rate: Share of the normal validation examples that may be called anomalous.
        inputs: What the inputs of a table are, see `zoo.data.tabular.encoding`.
        targets: Names of the numbers that are predicted.
        means: Mean of each of them over the training examples.
        deviations: Their standard deviations.
        quantiles: Quantiles that are predicted besides, between 0 and 1.
        series: Form of series and their windows, for forecasting.
        events: Form of events of users and items, for recommendation.
        unlabelled: Whether the examples have no labels: those of the splits are zeros that mean nothing.
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
    pixel_range: tuple[float, float] = (0.0, 1.0)
    fit: Fit = FIRST_FIT
    columns: tuple[str, ...] = ()
    hop: int = 0
    rate: float = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    normal: tuple[str, ...] = ()
    false_alarm_rate: float = 0.0
    inputs: tuple[Mapping[str, Any], ...] = ()
    targets: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()
    series: SeriesForm | None = None
    events: EventsForm | None = None
    unlabelled: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_dtype(self) -> str:
        """Dtype of the inputs of a model for this data."""
        return "int32" if self.kind in ("tokens", "pairs", "triples", "events") else "float32"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataSpec":
        found = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if found.get("series"):
            found["series"] = SeriesForm.from_json(found["series"])
        if found.get("events"):
            found["events"] = EventsForm.from_json(found["events"])
        return cls(**found)


@dataclass(frozen=True)
class Captions:
    """The captions of a set of images.

    Args:
        texts: Distinct captions.
        ids: Token ids of the captions, (captions, time) int32, padded with 0.
        of_class: Indices of the captions of each class; empty if captions are not made from classes.
    """

    texts: tuple[str, ...]
    ids: np.ndarray
    of_class: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set in three splits, each of which may be empty.

    Args:
        spec: Specification of the data.
        train: Training examples.
        validation: Validation examples, on which epochs are compared.
        test: Test examples, on which results are measured.
        vocabulary: Vocabulary of the texts; for pairs, of the sources.
        target_vocabulary: Vocabulary of the targets of pairs; may be the same object as `vocabulary`.
        references: Original target texts of pairs, by split and in order.
        captions: Captions of images, for contrastive training.
        left_out: Number of triples of each split that cannot be ranked.
        texts: Whole texts of the splits, for a simple method beside the network; empty for other data, and for data
            in the form of a run.
        reading: Record of what was read; None for a set that was not loaded from a source.
        noise: Recordings that augmentation mixes into sounds, one after another, (samples,) int16; None without any.
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
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reading: Reading | None = None
    noise: np.ndarray | None = None

    def save_vocabularies(self, path: Path, target_path: Path) -> None:
        """Write the vocabularies, if there are any; a shared one is written to `path` only.

        Args:
            path: File for the vocabulary.
            target_path: File for the target vocabulary.
        """
        if self.vocabulary is not None:
            self.vocabulary.save(path)
        if self.target_vocabulary is not None and self.target_vocabulary is not self.vocabulary:
            self.target_vocabulary.save(target_path)

    def split(self, name: str) -> Split:
        """Return a split by name.

        Args:
            name: "train", "validation" or "test".

        Raises:
            UsageError: If there is no such split, or if it has no examples.
        """
        if name not in ("train", "validation", "test"):
            raise UsageError(f"--split: expected train, validation or test, received {name!r}")
        chosen = getattr(self, name)
        if not len(chosen):
            raise UsageError(f"--split: {self.spec.name} has no {name} examples")
        return chosen


def from_tf_data(
    name: str,
    train: Iterable,
    test: Iterable,
    validation: Iterable = (),
    class_names: Sequence[str] | None = None,
    task: str = CLASSES,
) -> Dataset:
    """Read finite, batched `tf.data` datasets, or other iterables of batches, into memory.

    Args:
        name: Name for titles.
        train: Training batches (x, y) of features or uint8 pixels, and class indices.
        test: Test batches (x, y).
        validation: Validation batches (x, y); may be empty.
        class_names: Class names in the order of the class indices; None to name classes by their indices.
        task: Task that the data is for.

    Raises:
        UsageError: If a split has no examples, if a value is not finite, if a label is out of range or no class index,
            or if the inputs are not one array of two to four axes.
    """
    splits = [_collected(name, batches) for batches in (train, test)]
    splits.insert(1, _collected(name, validation) if validation else splits[0].take(np.arange(0)))
    classes = class_names or numbered_classes(name, [split.y for split in splits])
    for split in splits:
        check_labels(name, split.y, classes)
        check_finite(name, split.x)
    x, y = splits[0].x, splits[0].y
    if x.ndim not in (2, 3, 4):
        raise UsageError(
            f"{name}: expected (examples, features), (examples, time, features) or (examples, height, width, channels),"
            f" received inputs of shape {x.shape}"
        )
    tokens = np.issubdtype(x.dtype, np.integer) and x.ndim == 2
    if tokens:
        for split in splits:
            check_tokens(name, split.x)
    kinds: dict[int, Kind] = {2: "tokens" if tokens else "vector", 3: "sequence", 4: "image"}
    vocabulary_size = 1 + max(int(split.x.max(initial=0)) for split in splits) if tokens else 0
    spec = DataSpec(name, kinds[x.ndim], x.shape[1:], tuple(classes), y.ndim == 2, vocabulary_size, task)
    return Dataset(spec, *splits)


def check_ends(name: str, batches: Any) -> None:
    """Raise UsageError for a `tf.data.Dataset` that repeats without end; one of unknown length is let through."""
    cardinality = getattr(batches, "cardinality", None)
    if callable(cardinality) and int(cardinality()) == ENDLESS:
        raise UsageError(
            f"{name}: expected a finite tf.data.Dataset, received one that repeats without end; leave out .repeat(), or"
            " call .take(N)"
        )


def concatenated(name: str, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Return the examples of all batches.

    Args:
        name: Name for messages.
        batches: Arrays (examples, ...).

    Raises:
        UsageError: The examples of one batch have another shape than those of another.
    """
    first, *others = dict.fromkeys(array.shape[1:] for array in batches)
    if others:
        raise UsageError(f"{name}: expected examples of one shape in all batches, received {first} and {others[0]}")
    return np.concatenate(batches)


def _collected(name: str, batches: Iterable) -> Split:
    check_ends(name, batches)
    parts = [_pair(name, batch) for batch in batches]
    if not parts:
        raise UsageError(f"{name}: expected batches of examples, received none")
    x, y = (concatenated(name, column) for column in zip(*parts, strict=True))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    steps = x.ndim in (2, 3) and y.shape[1:] == x.shape[1:2]  # one label a step
    if y.ndim != 1 and not (y.ndim == 2 and steps and not (x.ndim == 2 and x.dtype.kind == "f")):
        one_hot = y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(-1) == 1).all()
        cure = "these are one-hot, give y.argmax(-1)" if one_hot else "compression.api.compress takes any labels"
        raise UsageError(f"{name}: expected class indices (examples,), received labels of shape {y.shape}; {cure}")
    if x.dtype != np.uint8:
        x = as_int32(name, x) if np.issubdtype(x.dtype, np.integer) else as_float32(name, x)
    return Split(x, as_int32(name, y))


def _pair(name: str, batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and labels of a batch, which has one array of each."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        received = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
        more = "; sample weights are not taken" if isinstance(batch, tuple | list) and len(batch) == 3 else ""
        raise UsageError(f"{name}: expected batches (x, y), received {received}{more}")
    if any(isinstance(part, Mapping | tuple | list) for part in batch):
        raise UsageError(
            f"{name}: expected one array of inputs and one of labels in a batch, received several; compression.api"
            ".compress takes such data"
        )
    x, y = map(np.asarray, batch)
    if not x.ndim or not y.ndim or len(x) != len(y):
        sizes = f"shapes {x.shape} and {y.shape}"
        single = "" if y.ndim else "; call .batch(N) on a set of single examples"
        raise UsageError(f"{name}: expected batches (x, y) of as many labels as inputs, received {sizes}{single}")
    return x, y


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of whole batches in an epoch. The remainder, a different one in each epoch, is dropped.

    Args:
        examples: Number of training examples.
        batch_size: Number of examples in a batch.

    Raises:
        UsageError: If there are fewer examples than one batch.
    """
    if examples < batch_size:
        raise UsageError(f"--batch-size {batch_size}: expected at most the {examples} training examples, received more")
    return examples // batch_size
