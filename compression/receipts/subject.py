"""What a file is measured against: a Keras model, and examples."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.exporting.endpoints import servable
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface, ModelInterface
from compression.runtime import litert
from zoo.config.task_facts import FIRST_FIT
from zoo.console.errors import UsageError
from zoo.data import DataSpec, Split
from zoo.data.images import scaled
from zoo.data.stored.column import Column
from zoo.runs.inference import BATCH

# What a receipt says of inputs without labels, in place of scores.
UNLABELLED = "none: outputs are compared with Keras on these inputs, and no score is measured"

NO_SCORES = "no labels: the file is compared with Keras alone"


class Subject(ABC):
    """What a file was made from and is measured against.

    Attributes:
        model: Keras model whose outputs the file should have.
        original: Model with whose weights in float32 the file's size is compared; None stands for `model`.
    """

    model: keras.Model
    original: keras.Model | None

    @abstractmethod
    def check_takes(self, path: Path, content: Any) -> None:
        """Check that a file takes what the data have.

        Args:
            path: Path of the file, for messages.
            content: Flatbuffer of the file.

        Raises:
            UsageError: The file takes other inputs.
        """

    @abstractmethod
    def scored(self, path: Path) -> dict[str, Any]:
        """Return the scores of a file."""

    @abstractmethod
    def measured(self, path: Path) -> dict[str, Any]:
        """Return the receipt's `test`, `parity` and `latency`: scores of the file and of Keras, and differences."""


class OutputSubject(Subject):
    """Subject of a file that computes what its model computes, so that their outputs are compared one by one.

    Attributes:
        interface: Inputs and outputs of the file.
        examples: Examples and, if there are any, their labels.
        probabilities: Whether the file ends in a softmax that the model has not.
    """

    interface: Interface | ModelInterface
    examples: Split
    probabilities: bool

    @abstractmethod
    def inputs(self) -> dict[str, np.ndarray]:
        """Return the examples as the file takes them before quantization, by the name of the input."""

    @abstractmethod
    def outputs(self, path: Path) -> list[np.ndarray]:
        """Return the outputs of a .tflite file for the examples, each (examples, ...) float32."""

    @abstractmethod
    def reference(self) -> list[np.ndarray]:
        """Return the outputs of Keras for the examples, each (examples, ...) float32."""

    @abstractmethod
    def graded(self, outputs: Sequence[np.ndarray]) -> dict[str, float]:
        """Return the scores of outputs, the most important first; none without labels."""


@dataclass(frozen=True)
class ArraySubject(Subject):
    """Subject of a file with one input and one output.

    Args:
        model: Keras model whose outputs the file should have.
        interface: Input and output of the file.
        examples: Examples and their labels.
        probabilities: Whether the file ends in a softmax; without it, outputs are compared as they are.
        original: Model with whose weights in float32 the file's size is compared; default, `model`.
    """

    model: keras.Model
    interface: Interface
    examples: Split
    probabilities: bool = True
    original: keras.Model | None = None

    def check_takes(self, path: Path, content: Any) -> None:
        interface, shape = self.interface, self.examples.x.shape[1:]
        if shape != interface.shape:
            raise UsageError(
                f"{path}: expected examples of shape {interface.shape}, as it was made for; the data have {shape}"
            )
        inputs = flatbuffer.signature(content)["inputs"]
        expected = [interface.batch, *interface.given_shape]
        if len(inputs) != 1 or inputs[0]["shape"] != expected:
            received = ", ".join(str(row["shape"]) for row in inputs)
            raise UsageError(
                f"{path}: expected a file that takes {expected}, as the data have it; this one takes {received}"
            )


@dataclass(frozen=True)
class OneOutputSubject(ArraySubject, OutputSubject):
    """Subject of a file with one input, whose one output is compared with that of its model; see `ArraySubject`."""

    def inputs(self) -> dict[str, np.ndarray]:
        return {self.interface.name: given(self.examples, self.interface)}

    def outputs(self, path: Path) -> list[np.ndarray]:
        return [litert.run(path, given(self.examples, self.interface))]

    def reference(self) -> list[np.ndarray]:
        return [reference(self, given(self.examples, self.interface))]


def given(split: Split, interface: Interface) -> np.ndarray | Column:
    """Return examples as the file takes them before quantization: bytes, pixels in [0, 1], features or token ids.

    Of examples that are decoded when they are looked at, the result is too.
    """

    def taken(x: np.ndarray) -> np.ndarray:
        x = enlarged(x, interface.resize_from) if interface.resize_from else x
        return x if interface.uint8 else scaled(x)

    if isinstance(split.x, Column):
        return split.x.mapped(taken, np.uint8 if interface.uint8 else np.float32, interface.given_shape)
    return taken(split.x)


def fitted(spec: DataSpec) -> dict[str, str]:
    """Return how pictures are brought to the shape of the input, for the description of a file.

    Nothing for other inputs, and for pictures that are stretched, as all were in version 0.1.
    """
    return {"fit": spec.fit} if spec.kind == "image" and spec.fit != FIRST_FIT else {}


def pixels(examples: Split, interface: Interface) -> str:
    """Return what the pixels of a run on pictures are, for the description of a file.

    Args:
        examples: Training examples. Pictures of an .npz file may have floating-point numbers beyond those of pixels.
        interface: Inputs and outputs of the file.
    """
    if interface.uint8:
        return "bytes from 0 to 255"
    x = examples.x
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size and not 0 <= x.min() <= x.max() <= 1:
        return f"numbers as they were trained on, from {x.min():.4g} to {x.max():.4g}"
    return "pixels from 0 to 1"


def heard(spec: DataSpec) -> str:
    """Return what the samples of a run on sound are, for the description of a file."""
    return f"samples from -1 to 1, one channel, {spec.rate} in a second"


def sampled(spec: DataSpec) -> dict[str, int]:
    """Return how many samples of sound a second has, for the description of a file; nothing for other inputs."""
    return {"rate": spec.rate} if spec.rate else {}


def enlarged(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return images (images, height, width, channels) uint8 in another (height, width), as a camera may give them."""
    from PIL import Image

    height, width = size
    # Each channel by itself: Pillow takes a last one of two or four for transparency.
    found = [[Image.fromarray(channel).resize((width, height)) for channel in np.moveaxis(image, -1, 0)] for image in x]
    return np.stack([np.stack(channels, axis=-1) for channels in found])


def reference(subject: ArraySubject, x: np.ndarray) -> np.ndarray:
    """Return the outputs of Keras for the inputs of the file, (examples, ...) float32."""
    return referring(subject)(x)


def referring(subject: ArraySubject, batch: int = BATCH) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from the inputs of the file to the outputs of Keras, (examples, ...) float32."""
    import tensorflow as tf

    compute = tf.function(servable(subject.model, subject.interface, subject.probabilities), reduce_retracing=True)

    def outputs(x: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(x), batch):
            y = compute(tf.constant(x[start : start + batch]))[subject.interface.output]
            parts.append(y.numpy().astype(np.float32))
        return np.concatenate(parts)

    return outputs
