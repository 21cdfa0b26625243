"""What an exported file takes and gives. Standard library only."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Interface:
    """What a file takes and gives.

    Args:
        name: of the input.
        shape: of one example, without the batch.
        dtype: that the model is called with, float32 or int32.
        output: name of the output.
        batch: static batch size; None leaves it free, in a SavedModel only.
        uint8: take camera bytes (uint8 pixels) and scale them to [0, 1] inside the graph.
        resize_from: (height, width) of the bytes, where they are to be resized inside the graph.
        masked: whether the inputs are padded, so that the model hides a part of them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    output: str = "probabilities"
    batch: int | None = 1
    uint8: bool = False
    resize_from: tuple[int, int] | None = None
    masked: bool = False
    # None: one signature, whose name does not matter.
    functions: ClassVar[None] = None
    rolled_out: ClassVar[bool] = False

    @property
    def given_shape(self) -> tuple[int, ...]:
        """Shape of one example as the file takes it."""
        return (*self.resize_from, self.shape[-1]) if self.resize_from else self.shape

    @property
    def given_dtype(self) -> str:
        """Type of the input before any quantization."""
        return "uint8" if self.uint8 else self.dtype

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Interface":
        """Rebuild an interface from `to_json`'s values."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class TextInterface:
    """What a file that makes texts takes and gives: one text at a time, a token a step.

    Its signatures are those functions of the model that `zoo.generate` calls: `decode_step`, and `encode` where the
    model has a source. Between them go float32 numbers in every precision, so that what one gives the other takes.

    Args:
        task: translation or language_model.
        length: tokens that the cache has room for: of a target with its begin, or of a window.
        source_length: tokens of a source; 0, it has none.
    """

    task: str
    length: int
    source_length: int = 0
    dtype: ClassVar[str] = "int32"
    batch: ClassVar[int] = 1
    uint8: ClassVar[bool] = False
    resize_from: ClassVar[None] = None
    masked: ClassVar[bool] = True
    # The signatures are called step by step, also for calibration.
    rolled_out: ClassVar[bool] = True

    @property
    def functions(self) -> list[str]:
        """The names of the signatures."""
        return ["decode_step", "encode"] if self.source_length else ["decode_step"]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class PairInterface:
    """What a file that matches images and captions takes and gives: one image, or one caption, to a vector of float32.

    Args:
        image_shape: (height, width, channels) of pixels in [0, 1].
        tokens: of a caption.
    """

    image_shape: tuple[int, ...]
    tokens: int
    dtype: ClassVar[str] = "int32"
    batch: ClassVar[int] = 1
    uint8: ClassVar[bool] = False
    resize_from: ClassVar[None] = None
    masked: ClassVar[bool] = True
    functions: ClassVar[list[str]] = ["encode_image", "encode_text"]
    rolled_out: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        return dataclasses.asdict(self)


# Of every form that a run is exported as.
AnyInterface = Interface | TextInterface | PairInterface


def from_json(values: Mapping[str, Any]) -> AnyInterface:
    """Rebuild an interface of any kind from its `to_json`."""
    if "image_shape" in values:
        return PairInterface(tuple(values["image_shape"]), values["tokens"])
    return TextInterface(**values) if "task" in values else Interface.from_json(values)
