"""Detectors as files: one signature, from a picture to raw boxes and the logits of their scores, two outputs.

Decoding and non-maximum suppression are outside of the quantized part, where rounding a coordinate to 8 bits would move
a box by pixels. `compression.on_device.detect` does both on the host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import ModelInterface, Port
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import OutputSubject, fitted
from compression.runtime import litert
from compression.tasks.base import Export, OutputForm
from compression.tasks.own_model import given
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec, Split
from zoo.data.images import scaled
from zoo.objectives.priors import MIDDLE, Priors
from zoo.scores import detections
from zoo.system.files import write_text
from zoo.tasks.detection import priors_of, raw_outputs, size_of

BOXES, SCORES = "boxes", "scores"
# Probability from which the boxes of file and model are compared; those of other places are never shown.
OBJECT = 0.3


@dataclass(frozen=True)
class Detection(OutputForm):
    """How a detector becomes a file.

    Args:
        data: Data of the run.
        interface: Input and outputs of the file.
        priors: What raw boxes are relative to.
    """

    data: Dataset
    interface: ModelInterface
    priors: Priors

    softmax = False

    @classmethod
    def build(cls, made: Export) -> Self:
        options = made.options
        return cls._of(made, batch=options.batch, uint8=options.uint8, resize_from=options.input_size)

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        stored = ModelInterface.from_json(receipt["interface"])
        return cls._of(made, batch=stored.batch, uint8=stored.uint8, resize_from=stored.resize_from)

    @classmethod
    def _of(cls, made: Export, **options: Any) -> Self:
        if options["resize_from"] and not options["uint8"]:
            raise UsageError("--input-size: expected together with --uint8-input, received without it")
        spec, priors = made.data.spec, priors_of(made.model, made.data.spec)
        places = len(priors.boxes)
        outputs = (Port(BOXES, (places, 4)), Port(SCORES, (places, spec.num_classes)))
        return cls(made.data, ModelInterface((Port("image", spec.input_shape),), outputs, **options), priors)

    def subject(self, model: keras.Model, original: keras.Model) -> "DetectedSubject":
        split = self.data.split("test")
        return DetectedSubject(model, self.interface, split, self.data.spec, self.priors, original)

    def subject_on(self, model: keras.Model, examples: Split) -> "DetectedSubject":
        return DetectedSubject(model, self.interface, examples, self.data.spec, self.priors)

    def chosen(self, split: Split, count: int, seed: int) -> Split:
        if not len(split):
            raise UsageError("expected training examples to calibrate with, received none")
        return split.take(np.random.default_rng(seed).permutation(len(split))[:count])

    def class_indices(self, split: Split) -> np.ndarray:
        return split.y

    def calibration(self, count: int, seed: int) -> dict[str, np.ndarray]:
        found = given(self.chosen(self.data.train, count, seed).x, self.interface)
        return {name: np.asarray(array) for name, array in found.items()}

    def calibration_count(self, calibration: Mapping[str, np.ndarray]) -> int:
        return len(next(iter(calibration.values())))

    def examples(self, count: int, seed: int) -> np.ndarray:
        return scaled(self.chosen(self.data.train, count, seed).x)

    def about(self) -> dict[str, Any]:
        spec, interface = self.data.spec, self.interface
        (port,) = interface.given
        values = "bytes from 0 to 255" if interface.uint8 else "pixels from 0 to 1"
        boxes, scores = interface.outputs
        return {
            "task": "detection",
            "labels": list(spec.class_names),
            "input": {"name": port.name, "kind": spec.kind, "shape": list(port.shape), "values": values} | fitted(spec),
            "outputs": [
                {"name": boxes.name, "shape": list(boxes.shape), "values": "raw boxes, see decoding"},
                {"name": scores.name, "shape": list(scores.shape), "values": "logit of each label"},
            ],
            "decoding": {
                "coding": self.priors.coding,
                "size": list(size_of(spec)),
                "middle": MIDDLE,
                "levels": [
                    {
                        "stride": one.stride,
                        "rows": one.rows,
                        "columns": one.columns,
                        "sizes": [list(s) for s in one.sizes],
                    }
                    for one in self.priors.levels
                ],
            },
            "suppression": {
                "overlap": detections.OVERLAP,
                "candidates": detections.CANDIDATES,
                "most": detections.MOST,
            },
        }

    def write_beside(self, path: Path) -> None:
        """Write the labels."""
        write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in self.data.spec.class_names))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        within = intervals or {}
        return f"mAP@.5 {written(scores, 'map_50', within)}, mAP {written(scores, 'map', within)}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        file, theirs = test["litert"], test["keras"]
        points = ", ".join(
            f"{label} {100 * (file[name] - theirs[name]):+.2f} points"
            for label, name in (("mAP@.5", "map_50"), ("mAP", "map"))
        )
        return f"test {cls.headline(file)}; Keras {cls.headline(theirs)}; difference {points}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        return [
            f"largest difference in probability from Keras {parity['largest_difference']:.1e}; sides of boxes of"
            f" {OBJECT} or more differ by {parity['mean_box_difference']:.2g} pixels on average, by"
            f" {parity['largest_box_difference']:.2g} at most"
        ]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return 100 * scores["map_50"], "test mAP at IoU 0.5, %"


@dataclass(frozen=True)
class DetectedSubject(OutputSubject):
    """What the file of a detector is measured against: the model's `predict`.

    Args:
        model: Model whose outputs the file should have.
        interface: Input and outputs of the file.
        examples: Pictures and their objects.
        spec: Form of the data.
        priors: What raw boxes are relative to.
        original: Model with whose weights in float32 the file's size is compared.
    """

    model: keras.Model
    interface: ModelInterface
    examples: Split
    spec: DataSpec
    priors: Priors
    original: keras.Model | None = None

    probabilities = False

    def inputs(self) -> dict[str, np.ndarray]:
        return given(self.examples.x, self.interface)

    def outputs(self, path: Path) -> list[np.ndarray]:
        outputs = litert.run_named(path, self.inputs())
        return [outputs[port.name] for port in self.interface.outputs]

    def reference(self) -> list[np.ndarray]:
        return list(raw_outputs(self.model, self.examples))

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        found = detections.detected(*outputs, self.priors, size_of(self.spec))
        scores, _ = detections.evaluated(found, self.examples.y, self.spec.class_names)
        return {"map_50": scores.pop("map_50"), **scores}

    def check_takes(self, path: Path, content: Any) -> None:
        (port,) = self.interface.given
        expected = {port.name: [self.interface.batch, *port.shape]}
        received = {row["name"]: list(row["shape"]) for row in flatbuffer.signature(content)["inputs"]}
        if expected != received:
            raise UsageError(
                f"{path}: expected a file that takes {expected}, as the run does; this one takes {received}"
            )

    def scored(self, path: Path) -> dict[str, float]:
        return self.graded(self.outputs(path))

    def measured(self, path: Path) -> dict[str, Any]:
        mine, theirs = self.outputs(path), self.reference()
        return {
            "test": {
                "examples": len(self.examples),
                "sha256": examples_sha256(self.examples),
                "litert": self.graded(mine),
                "keras": self.graded(theirs),
            },
            "parity": self._parity(mine, theirs),
            "latency": litert.latency(path, {name: x[: self.interface.batch] for name, x in self.inputs().items()}),
        }

    def _parity(self, mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> dict[str, float]:
        scores = [1 / (1 + np.exp(-each[1].astype(np.float64))) for each in (mine, theirs)]
        apart = np.abs(scores[0] - scores[1])
        boxes = [np.asarray(self.priors.decoded(each[0].astype(np.float32))) for each in (mine, theirs)]
        chosen = scores[1].max(-1) >= OBJECT
        sides = np.abs(boxes[0] - boxes[1])[chosen] if chosen.any() else np.zeros(1)
        return {
            "largest_difference": float(apart.max()),
            "mean_difference": float(apart.mean()),
            "largest_box_difference": float(sides.max()),
            "mean_box_difference": float(sides.mean()),
        }
