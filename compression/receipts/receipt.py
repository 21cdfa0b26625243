"""The receipt of an exported file: every number measured on the file itself, and measured again to be believed."""

import dataclasses
import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.exporting.endpoints import servable
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.runtime import litert
from zoo.console.errors import UsageError
from zoo.data import Split
from zoo.data.images import scaled
from zoo.runs.inference import BATCH
from zoo.system.files import sha256
from zoo.system.machine import processor, versions
from zoo.tasks import classification

# Keras' own rounding differs between processors by less than this, in probability.
PROBABILITY_TOLERANCE = 1e-5
# What verify prints and does not judge.
NOT_JUDGED = ("latency", "processor", "versions")
_CLOSE = dict.fromkeys(
    ("largest_difference", "mean_difference", "loss", "source_effect", "source_effect_keras")
    + ("largest_cosine_difference", "largest_cosine_difference_images", "largest_cosine_difference_texts"),
    PROBABILITY_TOLERANCE,
) | {"largest_logit_difference": 1e-4, "psnr": 0.01}
# Of how samples lie among real images, which one of them may change.
SAMPLES_TOLERANCE = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class Subject:
    """What a file was made from and is measured against.

    Args:
        model: in Keras.
        interface: of the file.
        examples: and their labels.
        probabilities: whether the file ends in a softmax; without it, outputs are compared as they are.
        original: whose weights in float32 the file's size is compared with; default, the model.
    """

    model: keras.Model
    interface: Interface
    examples: Split
    probabilities: bool = True
    original: keras.Model | None = None

    def check_takes(self, path: Path, model: Any) -> None:
        """Raise UsageError unless the file takes what the interface says, and the examples have that form."""
        interface, shape = self.interface, self.examples.x.shape[1:]
        if shape != interface.shape:
            raise UsageError(
                f"{path}: expected examples of shape {interface.shape}, as it was made for; the data have {shape}"
            )
        inputs = flatbuffer.signature(model)["inputs"]
        expected = [interface.batch, *interface.given_shape]
        if len(inputs) != 1 or inputs[0]["shape"] != expected:
            received = ", ".join(str(row["shape"]) for row in inputs)
            raise UsageError(
                f"{path}: expected a file that takes {expected}, as the data have it; this one takes {received}"
            )

    def scored(self, path: Path) -> dict[str, float]:
        """Return the scores of a file."""
        return scores(litert.run(path, given(self.examples, self.interface)), self)

    def measured(self, path: Path) -> dict[str, Any]:
        """Return the scores of a file and of Keras, how far they are apart, and what a call takes."""
        x = given(self.examples, self.interface)
        expected = reference(self, x)
        as_trained = expected
        if self.interface.resize_from:  # so that what resizing loses is a loss of the file
            plain = dataclasses.replace(self, interface=dataclasses.replace(self.interface, resize_from=None))
            as_trained = reference(plain, given(self.examples, plain.interface))
        found = litert.run(path, x)
        difference = np.abs(found.astype(np.float64) - expected)
        mine = scores(found, self)
        return {
            "test": {
                "examples": len(x),
                "sha256": examples_sha256(self.examples),
                "litert": mine,
                "intervals": classification.intervals_of(mine, _logits(found, self), self.examples.y),
                "keras": scores(as_trained, self),
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
                "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
            },
            "latency": litert.latency(path, x[: self.interface.batch]),
        }


def given(split: Split, interface: Interface) -> np.ndarray:
    """Return examples as the file takes them before quantization: bytes, pixels in [0, 1], features or token ids."""
    x = split.x
    if interface.resize_from:
        from PIL import Image

        height, width = interface.resize_from
        mode = (lambda image: image[..., 0]) if x.shape[-1] == 1 else (lambda image: image)
        enlarged = [np.asarray(Image.fromarray(mode(image)).resize((width, height))) for image in x]
        x = np.stack(enlarged).reshape(-1, *interface.given_shape)
    return x if interface.uint8 else scaled(x)


def reference(subject: Subject, x: np.ndarray) -> np.ndarray:
    """Return what Keras computes from the inputs of the file, (examples, ...) float32."""
    import tensorflow as tf

    compute = tf.function(servable(subject.model, subject.interface, subject.probabilities), reduce_retracing=True)
    parts = []
    for start in range(0, len(x), BATCH):
        y = compute(tf.constant(x[start : start + BATCH]))[subject.interface.output]
        parts.append(y.numpy().astype(np.float32))
    return np.concatenate(parts)


def measure(path: Path, subject: Subject) -> dict[str, Any]:
    """Measure a .tflite file.

    Args:
        path: of the file.
        subject: what it was made from.

    Returns:
        the receipt's numbers; of a file with Flex operators, which cannot be run here, those that need no run, and
        `not_run` with the reason.

    Raises:
        UsageError: the file is not whole, or takes other inputs than the subject gives.
        zoo.console.errors.Failed: LiteRT cannot run it.
    """
    model = flatbuffer.read(path)
    subject.check_takes(path, model)
    receipt = {
        "file": path.name,
        "sha256": sha256(path),
        **file_sizes(path, subject.original or subject.model),
        "operators": flatbuffer.operators(model),
        "flex": flatbuffer.flex(model),
        "keeps_state": flatbuffer.keeps_state(model),
        **_signatures(model),
        "constants": flatbuffer.constants(model),
    }
    if receipt["flex"]:
        return receipt | {"not_run": litert.NO_FLEX, "processor": processor(), "versions": versions()}
    return receipt | subject.measured(path) | {"processor": processor(), "versions": versions()}


def _signatures(model: Any) -> dict[str, Any]:
    found = flatbuffer.signatures(model)
    return {"signatures": found} if len(found) > 1 else {"signature": flatbuffer.signature(model)}


def file_sizes(path: Path, model: keras.Model) -> dict[str, Any]:
    """Return bytes and gzip bytes of a file, and how often they go into the model's weights as float32."""
    content = path.read_bytes()
    # mtime 0: the same bytes give the same gzip file.
    compressed = len(gzip.compress(content, 9, mtime=0))
    weights = 4 * sum(int(np.prod(v.shape)) for v in model.weights)
    return {
        "bytes": len(content),
        "gzip_bytes": compressed,
        "float32_weight_bytes": weights,
        "times_smaller": round(weights / len(content), 3),
        "times_smaller_gzip": round(weights / compressed, 3),
    }


def scores(outputs: np.ndarray, subject: Subject) -> dict[str, float]:
    """Return the task's numbers for outputs of a file or of Keras."""
    found = classification.scores(_logits(outputs, subject), subject.examples.y)
    return {name: value for name, value in found.items() if name != "examples"}


def _logits(outputs: np.ndarray, subject: Subject) -> np.ndarray:
    return np.log(np.maximum(outputs, np.finfo(np.float32).tiny)) if subject.probabilities else outputs


def examples_sha256(split: Split) -> str:
    """Return the SHA-256 of the examples and labels of a split."""
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def differences(stored: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Return one text for each number of a receipt that was not reproduced.

    Bytes, hashes, accuracy, operators and constants must be equal; differences from Keras and the loss near, as _CLOSE
    has it, intervals but for rounding; latency, processor and versions are not judged.
    """
    measured = json.loads(json.dumps(measured))  # tuples become lists, as in a receipt that was read
    texts = []
    for name in measured:
        if name not in NOT_JUDGED:
            texts += _compare(name, stored.get(name), measured[name])
    return texts


def _compare(name: str, stored: Any, measured: Any) -> list[str]:
    if isinstance(stored, dict) and isinstance(measured, dict):
        keys = [*stored, *(key for key in measured if key not in stored)]
        return [t for key in keys for t in _compare(f"{name}.{key}", stored.get(key), measured.get(key))]
    if isinstance(stored, list) and isinstance(measured, list) and len(stored) == len(measured):
        pairs = enumerate(zip(stored, measured, strict=True))
        return [t for i, (a, b) in pairs for t in _compare(f"{name}[{i}]", a, b)]
    numbers = isinstance(stored, int | float) and isinstance(measured, int | float)
    if numbers and abs(stored - measured) <= _tolerance(name, stored):
        return []
    return [] if stored == measured else [f"{name}: the receipt says {stored}, measured {measured}"]


def _tolerance(name: str, stored: float) -> float:
    """Return by how much a number may be another on another processor."""
    if ".against_real." in name:
        return SAMPLES_TOLERANCE * max(abs(stored), 0.1)
    if ".intervals." in name:  # sums of fractions, in another order on another processor
        return max(_CLOSE.get(name.partition(".intervals.")[2].partition("[")[0], 0), ROUNDING * max(abs(stored), 1))
    return _CLOSE.get(name.rpartition(".")[2], 0)
