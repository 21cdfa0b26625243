"""Models that reconstruct what they are given, for the detection of anomalies; of sound, they give the error itself."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.models.parts.floating import InFloat
from zoo.models.parts.sound import SoundFeatures, front_end
from zoo.models.parts.standardization import Numbers, StandardizingModel, check_standardization

# Front end of samples unless another is named.
USUAL = "logmel"

# Arguments of the front end.
ARGUMENTS = ("rate", "features", "frame_ms", "hop_ms", "mels", "coefficients", "highest_hz", "level", "floor")


def front_of(family: str, sound: Mapping[str, Any]) -> SoundFeatures | None:
    """Return the front end of a model, None for one that takes no samples.

    Args:
        family: Name of the model, for messages.
        sound: `ARGUMENTS` by name.

    Raises:
        ValueError: Arguments that contradict each other.
    """
    return front_end(family, usual=USUAL, **sound)


@keras.saving.register_keras_serializable("zoo")
class FramesTogether(InFloat):
    """Windows of neighbouring frames of sound, standardised; in float32 in every file, for their error is computed.

    Args:
        count: Number of frames of a window.
        mean: What is subtracted: one number, or one for each column of a frame.
        std: What the difference is divided by, likewise.

    Input shape: (batch, frames, columns, 1).
    Output shape: (batch, frames - count + 1, count * columns).
    """

    def __init__(self, count: int, mean: Numbers, std: Numbers, **kwargs):
        super().__init__(**kwargs)
        self.count, self.mean, self.std = count, tuple(mean), tuple(std)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[1] - self.count + 1, self.count * input_shape[2])

    def call(self, x):
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        x, windows = ops.squeeze(x, -1) * (1 / std) - mean / std, x.shape[1] - self.count + 1
        return ops.concatenate([x[:, first : first + windows] for first in range(self.count)], axis=-1)

    def get_config(self):
        return super().get_config() | {"count": self.count, "mean": self.mean, "std": self.std}


@keras.saving.register_keras_serializable("zoo")
class SquaredErrors(InFloat):
    """The mean squared error at each time, in float32 in every file: eight bits would not hold it.

    Input shape: two of (batch, time, ...), what was to be reconstructed and the reconstruction.
    Output shape: (batch, time).
    """

    def call(self, target, output):
        return ops.mean(ops.square(target - output), axis=tuple(range(2, len(target.shape))))


class ReconstructingModel(StandardizingModel):
    """A model that gives the reconstruction of (x - mean) / std, or of samples of sound the error at each time.

    A front end in the model makes frames of samples, and windows of frames are reconstructed. A device has no frames to
    compare with, so the model compares them itself.

    Args:
        mean: What is subtracted from the inputs, or from frames: one number, or one for each column.
        std: What the difference is divided by, likewise.
        frames: Number of neighbouring frames of a window.
        sound: `ARGUMENTS` of the front end by name, see `zoo.models.parts.sound.SoundFeatures`.

    Raises:
        ValueError: A deviation of 0, lists of different lengths, or a front end that cannot be.
    """

    def __init__(self, mean: Numbers, std: Numbers, *, frames: int, sound: dict[str, Any], **kwargs):
        hears = bool(sound["rate"])  # then frames are standardised, not inputs
        super().__init__(*(((0.0,), (1.0,)) if hears else (mean, std)), **kwargs)
        check_standardization(self.family, tuple(mean), tuple(std))
        self.mean, self.std = tuple(mean), tuple(std)
        self.sound = sound
        self.front = front_of(self.family, sound)
        if self.gives_errors:
            self.together = FramesTogether(frames, self.mean, self.std, dtype="float32", name="together")
            self.errors = SquaredErrors(dtype="float32", name="errors")

    @property
    def gives_errors(self) -> bool:
        """Whether the output is the error at each time, and not a reconstruction."""
        return self.front is not None

    def target_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of what is reconstructed.

        Raises:
            ValueError: Means for another number of columns, or clips with fewer frames than a window.
        """
        if not self.gives_errors:
            self.check_features(input_shape[-1])
            return tuple(input_shape)
        self.front.build(input_shape)
        shape = self.front.compute_output_shape(input_shape)
        self.check_features(shape[2])
        if shape[1] < self.together.count:
            raise ValueError(
                f"{self.family}: frames: expected at most {shape[1]}, as a clip of {input_shape[1]:,} samples has,"
                f" received {self.together.count}"
            )
        return self.together.compute_output_shape(shape)

    def target(self, x: Any) -> Any:
        """Return what is reconstructed: standardised inputs, or windows of frames (batch, windows, values)."""
        return self.together(self.front(x)) if self.gives_errors else self.standardized(x)

    def reconstruction(self, x: Any, training: bool | None = None) -> Any:
        """Return the reconstruction of what `target` returned."""
        raise NotImplementedError

    def call(self, x, training=None):
        target = self.target(x)
        y = self.reconstruction(target, training)
        return self.errors(target, y) if self.gives_errors else y

    def get_config(self):
        return super().get_config() | self.sound
