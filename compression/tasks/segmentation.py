"""Models of masks as files: one signature, from a picture to the scores of the classes of each pixel, or to classes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import OneOutputSubject, given, referring
from compression.runtime import litert
from compression.tasks.base import Export
from compression.tasks.classification import Classification, interface_of
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import DataSpec, Split
from zoo.data.images import scaled
from zoo.runs.inference import probabilities
from zoo.scores import masks as scoring
from zoo.scores.masks import Counts
from zoo.tasks import segmentation

# Largest size in bytes of the pictures, as float32, that calibrate a file or are probed, and smallest number of them.
CHOSEN_BYTES, LEAST = 1 << 28, 16
SCORES, CLASSES = "scores", "classes"


@dataclass(frozen=True)
class Segmentation(Classification):
    """How a model of masks becomes a file.

    The file gives the model's scores, whose softmax are probabilities, or the class with the highest one.
    """

    softmax = False
    selected_by = "miou"

    @classmethod
    def build(cls, made: Export) -> Self:
        options = made.options
        stated = {"uint8": options.uint8, "input_size": options.input_size, "batch": options.batch}
        return cls(made.data, _interface(made.data.spec, options.argmax, stated))

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        stored = Interface.from_json(receipt["interface"])
        stated = {"uint8": stored.uint8, "input_size": stored.resize_from, "batch": stored.batch}
        return cls(made.data, _interface(made.data.spec, stored.argmax, stated))

    def subject(self, model: keras.Model, original: keras.Model) -> "MaskSubject":
        return MaskSubject(model, self.interface, self.data.split("test"), False, original, self.data.spec)

    def subject_on(self, model: keras.Model, examples: Split) -> "MaskSubject":
        return MaskSubject(model, self.interface, examples, False, spec=self.data.spec)

    def chosen(self, split: Split, count: int, seed: int) -> Split:
        if not len(split):
            raise UsageError("expected training examples to calibrate with, received none")
        most = max(LEAST, CHOSEN_BYTES // (4 * int(np.prod(split.x.shape[1:]))))
        return split.take(np.random.default_rng(seed).permutation(len(split))[: min(count, most)])

    def class_indices(self, split: Split) -> np.ndarray:
        return np.asarray(split.y).astype(np.int32)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        return np.asarray(given(self.chosen(self.data.train, count, seed), self.interface))

    def examples(self, count: int, seed: int) -> np.ndarray:
        return scaled(self.chosen(self.data.train, count, seed).x)

    def about(self) -> dict[str, Any]:
        interface, classes = self.interface, len(self.data.spec.class_names)
        if interface.argmax:
            values, shape = "class of each pixel, an index of the labels", interface.given_shape[:2]
        else:
            values = "score of each label for each pixel; the highest is the class, their softmax are probabilities"
            shape = (*interface.given_shape[:2], classes)
        return super().about() | {"output": {"name": interface.output, "shape": list(shape), "values": values}}

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return f"mIoU {written(scores, 'miou', intervals or {})}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        file, theirs = test["litert"], test["keras"]["miou"]
        points = (file["miou"] - theirs) * 100
        return f"test {cls.headline(file, test.get('intervals'))}, Keras {theirs:.2%}, difference {points:+.2f} points"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        same = f"the same class for {parity['same_answer']:.2%} of the pixels"
        return [f"{same}, largest difference from Keras {parity['largest_difference']:.1e}"]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["miou"], "test mIoU, %"


def _interface(spec: DataSpec, argmax: bool, stated: Mapping[str, Any]) -> Interface:
    return dataclasses.replace(interface_of(spec, **stated), output=CLASSES if argmax else SCORES, argmax=argmax)


@dataclass(frozen=True)
class MaskSubject(OneOutputSubject):
    """Subject of a file of masks; see `ArraySubject`. A split is gone through a few pictures at a time.

    Args:
        spec: Form of the data.
    """

    spec: DataSpec | None = None

    def reference(self) -> list[np.ndarray]:
        return [self._keras(self.interface)(given(self.examples, self.interface))]

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        return _scored(_counted(outputs[0], self.examples, self.interface, self.spec))

    def scored(self, path: Path) -> dict[str, float]:
        parts = self._parts()
        return _scored(scoring.joined(
            _counted(litert.run(path, given(part, self.interface)), part, self.interface, self.spec) for part in parts
        ))  # fmt: skip

    def measured(self, path: Path) -> dict[str, Any]:
        plain = dataclasses.replace(self.interface, resize_from=None)
        keras_of, as_trained_of = self._keras(self.interface), self._keras(plain)
        mine, theirs, rows = [], [], []
        for part in self._parts():
            x = given(part, self.interface)
            found, expected = litert.run(path, x), keras_of(x)
            # What resizing loses counts as a loss of the file.
            as_trained = as_trained_of(given(part, plain)) if self.interface.resize_from else expected
            mine.append(_counted(found, part, self.interface, self.spec))
            theirs.append(_counted(as_trained, part, plain, self.spec))
            rows.append(_differences(found, expected, self.interface.argmax))
        counts = scoring.joined(mine)
        return {
            "test": {
                "examples": len(self.examples),
                "sha256": examples_sha256(self.examples),
                "litert": _scored(counts),
                "intervals": scoring.intervals_of(counts),
                "keras": _scored(scoring.joined(theirs)),
            },
            "parity": _parity(np.concatenate(rows)),
            "latency": litert.latency(path, np.asarray(given(self.examples, self.interface)[: self.interface.batch])),
        }

    def _parts(self) -> Iterator[Split]:
        return segmentation.parts_of(self.examples, self.spec)

    def _keras(self, interface: Interface) -> Any:
        """Return the function from the inputs of a file to the outputs of Keras."""
        return referring(dataclasses.replace(self, interface=interface), segmentation.batch_of(self.spec))


def _counted(outputs: np.ndarray, examples: Split, interface: Interface, spec: DataSpec) -> Counts:
    """Return the counts of the outputs of a file, or of Keras."""
    from scipy.special import log_softmax

    if interface.resize_from:
        outputs = _at_own_size(outputs, interface)
    return segmentation.counted_outputs(outputs if interface.argmax else log_softmax(outputs, axis=-1), examples, spec)


def _at_own_size(outputs: np.ndarray, interface: Interface) -> np.ndarray:
    """Return outputs at the size of a given picture at the size of the model, where the masks are."""
    rows, columns = (
        ((np.arange(size) + 0.5) * given_size / size).astype(np.int64)
        for size, given_size in zip(interface.shape[:2], interface.resize_from, strict=True)
    )
    return outputs[:, rows[:, None], columns[None, :]]


def _scored(counts: Counts) -> dict[str, float]:
    return {name: value for name, value in scoring.scores(counts).items() if name != "examples"}


def _differences(found: np.ndarray, expected: np.ndarray, argmax: bool) -> np.ndarray:
    """Return the largest and the mean difference in probability of each picture, and its share of equal classes.

    Of classes, a difference is the share of the pixels of a picture that have another one.
    """
    if argmax:
        same = (found == expected).mean((1, 2))
        return np.stack([1 - same, 1 - same, same], axis=1)
    difference = np.abs(probabilities(found) - probabilities(expected))
    same = (found.argmax(-1) == expected.argmax(-1)).mean((1, 2))
    return np.stack([difference.max((1, 2, 3)), difference.mean((1, 2, 3)), same], axis=1)


def _parity(rows: np.ndarray) -> dict[str, float]:
    return {
        "largest_difference": float(rows[:, 0].max()),
        "mean_difference": float(rows[:, 1].mean()),
        "same_answer": float(rows[:, 2].mean()),
    }
