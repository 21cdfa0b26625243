"""What a run that gives classes is exported as: a file of one signature, from an input to probabilities."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import Subject, given
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, Split
from zoo.data.images import scaled
from zoo.system.files import write_text

_INPUT_NAMES = {"image": "image", "tokens": "tokens", "vector": "features", "sequence": "features",
                "triples": "question"}  # fmt: skip


@dataclass(frozen=True)
class Classes:
    """How a classifier becomes a file, and what it is measured by.

    Args:
        data: the training split calibrates, the test split measures.
        interface: of the file.

    Raises:
        UsageError: bytes of what is not given as bytes.
    """

    data: Dataset
    interface: Interface

    def __post_init__(self) -> None:
        if self.interface.uint8 and self.data.test.x.dtype != np.uint8:
            name = self.data.spec.name
            raise UsageError(f"--uint8-input: expected images of bytes, {name} has {self.data.test.x.dtype}")

    def subject(self, model: keras.Model, original: keras.Model) -> Subject:
        """Return what a file of a model is measured against."""
        return Subject(model, self.interface, self.data.split("test"), original=original)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        """Return training examples as the file takes them."""
        return given(stratified(self.data.train, count, seed), self.interface)

    def examples(self, count: int, seed: int) -> np.ndarray:
        """Return training examples as the model takes them."""
        return scaled(stratified(self.data.train, count, seed).x)

    def about(self) -> dict[str, Any]:
        """Return what somebody who has only the file must know to use it."""
        return describe(self.data.spec, self.interface)

    def write_beside(self, path: Path) -> None:
        """Write what goes with a file: its labels, and the vocabulary of texts."""
        write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in self.data.spec.class_names))
        if self.data.vocabulary is not None:
            self.data.vocabulary.save(path.with_suffix(".vocabulary.json"))


def interface_of(
    spec: DataSpec, *, uint8: bool = False, input_size: tuple[int, int] | None = None, batch: int | None = 1
) -> Interface:
    """Return the interface of a classifier for this data.

    Raises:
        UsageError: bytes of something that is not an image.
    """
    if (uint8 or input_size) and spec.kind == "tokens":
        uint8 = False  # token ids are whole numbers as they are
    elif (uint8 or input_size) and spec.kind != "image":
        raise UsageError(f"--uint8-input: expected a run on images, this one takes {spec.kind} inputs")
    if input_size and not uint8:
        raise UsageError("--input-size: expected together with --uint8-input, and a run on images")
    return Interface(
        _INPUT_NAMES[spec.kind],
        spec.input_shape,
        spec.input_dtype,
        batch=batch,
        uint8=uint8,
        resize_from=input_size,
        masked=spec.kind == "tokens",
    )


def stratified(split: Split, count: int, seed: int) -> Split:
    """Return `count` examples of a split, with every class as often as in the whole, in random order."""
    if not len(split):
        raise UsageError("expected training examples to calibrate with, received none")
    if len(split) <= count:
        return split
    order = np.random.default_rng(seed).permutation(len(split))
    if split.y.ndim > 1:  # one label a step
        return split.take(order[:count])
    # The k-th example of each class gets the place that k has in its class; the first places are a stratified sample.
    labels = split.y[order]
    place = np.empty(len(order))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return split.take(order[np.argsort(place, kind="stable")[:count]])


def describe(spec: DataSpec, interface: Interface) -> dict[str, Any]:
    """Return what somebody who has only the file must know to use it."""
    values = {
        "image": "bytes from 0 to 255" if interface.uint8 else "pixels from 0 to 1",
        "tokens": "ids of the vocabulary, padded at the end with 0",
    }.get(spec.kind, "features as they were trained on")
    return {
        "labels": list(spec.class_names),
        "input": {"name": interface.name, "kind": spec.kind, "shape": list(interface.given_shape), "values": values},
        "output": {"name": interface.output, "values": "probability of each label"},
    }
