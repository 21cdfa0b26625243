"""Classifiers as files: one signature, from an input to the probabilities of the classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import (
    NO_SCORES,
    UNLABELLED,
    OneOutputSubject,
    Subject,
    fitted,
    given,
    heard,
    pixels,
    reference,
    sampled,
)
from compression.runtime import litert
from compression.tasks.base import Export, OutputForm
from compression.tasks.parts.changes import changed
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.images import scaled
from zoo.data.tabular.encoding import MISSING
from zoo.scores import classes
from zoo.system.files import write_text

_INPUT_NAMES = {"image": "image", "tokens": "tokens", "vector": "features", "sequence": "features", "sound": "samples",
                "triples": "question", "table": "row"}  # fmt: skip

# What the numbers of a row are, in the description of a file.
COLUMNS = (
    "a number as it is; a date in days since 2000-01-01; 1 if a text has the word and 0 if not; the place of a category"
    " in its values from 1, 0 for any other"
)


@dataclass(frozen=True)
class Classification(OutputForm):
    """How a classifier becomes a file.

    Args:
        data: Data of the run.
        interface: Input and output of the file.

    Raises:
        UsageError: The file takes bytes, and the examples are no bytes.
    """

    data: Dataset
    interface: Interface
    # Name of the output and function at the end of the file, where they are not those of classes.
    ends: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        if self.interface.uint8 and self.data.test.x.dtype != np.uint8:
            name = self.data.spec.name
            raise UsageError(f"--uint8-input: expected images of bytes, {name} has {self.data.test.x.dtype}")

    @classmethod
    def build(cls, made: Export) -> Self:
        options = {"uint8": made.options.uint8, "input_size": made.options.input_size, "batch": made.options.batch}
        return cls(made.data, interface_of(made.data.spec, **options, **cls.ends))

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        stored = Interface.from_json(receipt["interface"])
        options = {"uint8": stored.uint8, "input_size": stored.resize_from, "batch": stored.batch}
        return cls(made.data, interface_of(made.data.spec, **options, **cls.ends))

    def subject(self, model: keras.Model, original: keras.Model) -> "ClassSubject":
        unlabelled = self.data.spec.unlabelled
        return ClassSubject(model, self.interface, self.data.split("test"), original=original, unlabelled=unlabelled)

    def chosen(self, split: Split, count: int, seed: int) -> Split:
        return stratified(split, count, seed)

    def class_indices(self, split: Split) -> np.ndarray:
        if self.data.spec.unlabelled:
            raise UsageError(
                f"search: expected labels, because recipes are selected by accuracy; {self.data.spec.name} has none"
            )
        return split.y

    def subject_on(self, model: keras.Model, examples: Split) -> "ClassSubject":
        return ClassSubject(model, self.interface, examples, unlabelled=self.data.spec.unlabelled)

    def changed(self, subject: Subject, original: keras.Model) -> dict[str, Any] | None:
        if not isinstance(subject, ClassSubject) or self.data.spec.per_step or subject.unlabelled:
            return None
        before = subject.seen["keras"] if subject.model is original else subject.as_trained(original)
        return changed(subject.seen["file"], before, self.data.test.y, self.data)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        return np.asarray(given(stratified(self.data.train, count, seed), self.interface))

    def examples(self, count: int, seed: int) -> np.ndarray:
        return scaled(stratified(self.data.train, count, seed).x)

    def about(self) -> dict[str, Any]:
        spec, interface = self.data.spec, self.interface
        values = {
            "image": pixels(self.data.train, interface),
            "tokens": "ids of the vocabulary, padded at the end with 0",
            "table": COLUMNS,
            "sound": heard(spec),
        }.get(spec.kind, "features as they were trained on")
        shape = list(interface.given_shape)
        described = {"name": interface.name, "kind": spec.kind, "shape": shape, "values": values}
        described |= fitted(spec) | sampled(spec)
        if spec.inputs:
            described |= {"columns": list(map(_column, spec.inputs)), "missing": float(MISSING)}
        return ({"labels": list(spec.class_names)} if spec.class_names else {}) | {"input": described} | self.given_by()

    def given_by(self) -> dict[str, Any]:
        """Return what a user of the file has to know of its outputs."""
        return {"output": {"name": self.interface.output, "values": "probability of each label"}}

    def write_beside(self, path: Path) -> None:
        """Write the labels, and the vocabulary of texts."""
        write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in self.data.spec.class_names))
        if self.data.vocabulary is not None:
            self.data.vocabulary.save(path.with_suffix(".vocabulary.json"))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        return f"accuracy {written(scores, 'accuracy', intervals or {})}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        if not test["litert"]:
            return NO_SCORES
        file, theirs = test["litert"], test["keras"]["accuracy"]
        points = (file["accuracy"] - theirs) * 100
        return f"test {cls.headline(file, test.get('intervals'))}, Keras {theirs:.2%}, difference {points:+.2f} points"

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["accuracy"], "test accuracy, %"


@dataclass(frozen=True)
class ClassSubject(OneOutputSubject):
    """Subject of a file that gives the probability of each class; see `ArraySubject`.

    Args:
        seen: Outputs that were measured last: of the `file`, and of `keras` without the resizing of the file.
        unlabelled: Whether the examples have no labels, so that there are no scores.
    """

    seen: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)
    unlabelled: bool = False

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        found = self.scores(outputs[0])
        return {name: found[name] for name in sorted(found, key=lambda name: name != "accuracy")}

    def scored(self, path: Path) -> dict[str, float]:
        return self.scores(*self.outputs(path))

    def measured(self, path: Path) -> dict[str, Any]:
        x = given(self.examples, self.interface)
        expected = reference(self, x)
        as_trained = expected
        if self.interface.resize_from:  # so that what resizing loses counts as a loss of the file
            as_trained = self.as_trained(self.model)
        found = litert.run(path, x)
        self.seen.update(file=found, keras=as_trained)
        difference = np.abs(found.astype(np.float64) - expected)
        mine = self.scores(found)
        return {
            "test": {
                "examples": len(x),
                "sha256": examples_sha256(self.examples),
                "litert": mine,
                "intervals": classes.intervals_of(mine, self._logits(found), self.examples.y) if mine else {},
                "keras": self.scores(as_trained),
                **({"labels": UNLABELLED} if self.unlabelled else {}),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
                "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
            },
            "latency": litert.latency(path, x[: self.interface.batch]),
        }

    def as_trained(self, model: keras.Model) -> np.ndarray:
        """Return the outputs of a model for the examples in the size that it was trained with."""
        interface = dataclasses.replace(self.interface, resize_from=None)
        return reference(dataclasses.replace(self, model=model, interface=interface), given(self.examples, interface))

    def scores(self, outputs: np.ndarray) -> dict[str, float]:
        """Return the scores of outputs, of the file or of Keras; none without labels."""
        if self.unlabelled:
            return {}
        found = classes.scores(self._logits(outputs), self.examples.y)
        return {name: value for name, value in found.items() if name != "examples"}

    def _logits(self, outputs: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(outputs, np.finfo(np.float32).tiny)) if self.probabilities else outputs


def _column(each: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user of a file has to know of an input of a table; quantiles are part of the file."""
    kept = {key: each[key] for key in ("name", "form", "value", "values") if key in each}
    if len(edges := each.get("edges", ())) > 1:
        kept["range"] = [edges[0], edges[-1]]
    return kept


def interface_of(
    spec: DataSpec,
    *,
    uint8: bool = False,
    input_size: tuple[int, int] | None = None,
    batch: int | None = 1,
    output: str = "probabilities",
    activation: str = "softmax",
) -> Interface:
    """Return the interface of a classifier's file.

    Args:
        spec: Description of the data.
        uint8: Whether the file takes camera bytes.
        input_size: (height, width) of those bytes, which the file resizes; default, the model's own size.
        batch: Static batch size; None leaves it free.
        output: Name of the output.
        activation: Function that makes probabilities of logits.

    Raises:
        UsageError: Bytes are asked for, and the inputs are no images.
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
        output,
        batch=batch,
        uint8=uint8,
        resize_from=input_size,
        masked=spec.kind == "tokens",
        activation=activation,
    )


def stratified(split: Split, count: int, seed: int) -> Split:
    """Return `count` examples of a split in random order, with each class as often as in the whole split.

    Raises:
        UsageError: The split is empty.
    """
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
