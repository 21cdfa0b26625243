"""Detectors as files: one signature, from a picture to raw boxes and the logits of their scores, two outputs.

Decoding and non-maximum suppression are outside of the quantized part, where rounding a coordinate to 8 bits would move
a box by pixels. `compression.on_device.detect` does both on the host, or operators that follow in the file, in float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from compression.exporting import suppression
from compression.flatbuffers import flatbuffer, joining
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
from zoo.scores.detections import Found
from zoo.system import temporary
from zoo.system.files import write_text
from zoo.tasks.detection import priors_of, raw_outputs, size_of

BOXES, SCORES = "boxes", "scores"
# Probability from which the boxes of file and model are compared; those of other places are never shown.
OBJECT = 0.3


_RAW = {BOXES: "raw boxes (places, 4), see decoding", SCORES: "logit of each label (places, labels)"}
_SUPPRESSED = {
    "boxes": "x1, y1, x2, y2 in pixels of the model's input, best first",
    "classes": "index of the label",
    "scores": "probability",
    "count": "number of boxes; what follows them has no meaning",
}


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
    selected_by = "map_50"

    @classmethod
    def build(cls, made: Export) -> Self:
        options = made.options
        stated = {"batch": options.batch, "uint8": options.uint8, "resize_from": options.input_size}
        return cls._of(made, **stated, nms=options.nms == "file")

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        stored = ModelInterface.from_json(receipt["interface"])
        stated = {"batch": stored.batch, "uint8": stored.uint8, "resize_from": stored.resize_from}
        return cls._of(made, **stated, nms=stored.nms)

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
        outputs = _SUPPRESSED if interface.nms else _RAW
        found = {
            "task": "detection",
            "labels": list(spec.class_names),
            "input": {"name": port.name, "kind": spec.kind, "shape": list(port.shape), "values": values} | fitted(spec),
            "outputs": [{"name": name, "values": text} for name, text in outputs.items()],
        }
        if interface.nms:
            return found | {"size": list(size_of(spec))}
        return found | {
            "decoding": self.priors.to_json() | {"size": list(size_of(spec)), "middle": MIDDLE},
            "suppression": {
                "overlap": detections.OVERLAP,
                "candidates": detections.CANDIDATES,
                "most": detections.MOST,
            },
        }

    def complete(self, path: Path) -> None:
        if self.interface.nms:
            with temporary.folder(path.parent) as folder:
                suppression.write(
                    folder / "nms.tflite", self.priors, size_of(self.data.spec), len(self.data.spec.class_names)
                )
                joining.append(path, folder / "nms.tflite")

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
        said = f"largest difference in probability from Keras {parity['largest_difference']:.1e}"
        if "mean_box_difference" in parity:  # other formats are compared output by output
            said += (
                f"; sides of boxes of {OBJECT} or more differ by {parity['mean_box_difference']:.2g} pixels on average,"
            )
            said += f" by {parity['largest_box_difference']:.2g} at most"
        return [said]

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
        names = _SUPPRESSED if self.interface.nms else _RAW
        return [outputs[name] for name in names]

    def reference(self) -> list[np.ndarray]:
        return list(raw_outputs(self.model, self.examples))

    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        return self._scores(self._found(outputs))

    def _found(self, outputs: Sequence[np.ndarray]) -> list[Found]:
        """Return the detections of outputs, those of a file that suppresses as they are."""
        if len(outputs) == len(_RAW):
            return detections.detected(*outputs, self.priors, size_of(self.spec))
        counts = outputs[3].reshape(-1).astype(int)
        return [
            Found(boxes[:count], classes[:count].astype(np.int32), scores[:count])
            for boxes, classes, scores, count in zip(*outputs[:3], counts, strict=True)
        ]

    def _scores(self, found: Sequence[Found]) -> dict[str, float]:
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
        if len(mine) != len(theirs):
            return _differences(self._found(mine), self._found(theirs))
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


def _differences(mine: Sequence[Found], theirs: Sequence[Found]) -> dict[str, float]:
    """Return by how much the objects of a file differ from those of Keras, each from the nearest one of its class.

    An object that the file does not have differs by its whole score.
    """
    apart, sides = [0.0], [0.0]
    for file, keras_found in zip(mine, theirs, strict=True):
        for box, kind, score in zip(keras_found.boxes, keras_found.classes, keras_found.scores, strict=True):
            if score < OBJECT:
                continue
            same = np.flatnonzero(file.classes == kind)
            distances = np.abs(file.boxes[same] - box).max(-1) if len(same) else np.zeros(0)
            if not len(same) or distances.min() > np.abs(box[2:] - box[:2]).min() / 2:
                apart.append(float(score))
                continue
            nearest = same[distances.argmin()]
            apart.append(abs(float(file.scores[nearest] - score)))
            sides += np.abs(file.boxes[nearest] - box).tolist()
    return {
        "largest_difference": max(apart),
        "mean_difference": float(np.mean(apart)),
        "largest_box_difference": float(max(sides)),
        "mean_box_difference": float(np.mean(sides)),
    }
