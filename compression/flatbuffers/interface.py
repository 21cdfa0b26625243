"""Inputs and outputs of exported files. Standard library only."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class Interface:
    """Input and output of a file with one of each.

    Args:
        name: Name of the input.
        shape: Shape of one example, without the batch dimension.
        dtype: Type that the model is called with, float32 or int32.
        output: Name of the output.
        batch: Static batch size; None leaves it free, in a SavedModel only.
        uint8: Whether the file takes uint8 pixels and scales them to [0, 1] inside the graph.
        resize_from: (height, width) of the uint8 pixels, if the graph resizes them.
        masked: Whether inputs are padded and the model masks the padding.
        activation: Function that makes probabilities of logits, softmax or sigmoid, where the file gives probabilities.
        argmax: Whether the file gives the class with the highest score at each place, int32, in place of the scores.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    output: str = "probabilities"
    batch: int | None = 1
    uint8: bool = False
    resize_from: tuple[int, int] | None = None
    masked: bool = False
    activation: str = "softmax"
    argmax: bool = False
    nms: ClassVar[bool] = False
    # None: one signature, whose name does not matter.
    functions: ClassVar[None] = None
    rolled_out: ClassVar[bool] = False

    @property
    def given_shape(self) -> tuple[int, ...]:
        """Shape of one example at the file's input."""
        return (*self.resize_from, self.shape[-1]) if self.resize_from else self.shape

    @property
    def given_dtype(self) -> str:
        """Type of the file's input before quantization."""
        return "uint8" if self.uint8 else self.dtype

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        # Receipts of version 0.1 do not have what it had not.
        later = {"activation": Interface.activation, "argmax": Interface.argmax}
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in later or value != later[name]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Interface":
        """Return the interface that `to_json` described."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class TextInterface:
    """Inputs and outputs of a file that generates text, one text at a time and one token per step.

    Its signatures are the model's functions that `zoo.generate` calls: `decode_step`, and `encode` for models with a
    source text. Caches and encoder outputs are float32 in every precision, so that the output of one signature is a
    valid input of the other.

    Args:
        task: Task name, translation or language_model.
        length: Number of tokens that the cache holds: a target with its begin token, or a window.
        source_length: Number of source tokens; 0 for models without a source.
    """

    task: str
    length: int
    source_length: int = 0
    dtype: ClassVar[str] = "int32"
    batch: ClassVar[int] = 1
    uint8: ClassVar[bool] = False
    resize_from: ClassVar[None] = None
    masked: ClassVar[bool] = True
    argmax: ClassVar[bool] = False
    nms: ClassVar[bool] = False
    # The signatures are called step by step, also for calibration.
    rolled_out: ClassVar[bool] = True

    @property
    def functions(self) -> list[str]:
        """Names of the signatures."""
        return ["decode_step", "encode"] if self.source_length else ["decode_step"]

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class PairInterface:
    """Inputs and outputs of a file that embeds one image or one caption as a float32 vector.

    Args:
        image_shape: (height, width, channels) of pixels in [0, 1].
        tokens: Number of tokens of a caption.
    """

    image_shape: tuple[int, ...]
    tokens: int
    dtype: ClassVar[str] = "int32"
    batch: ClassVar[int] = 1
    uint8: ClassVar[bool] = False
    resize_from: ClassVar[None] = None
    masked: ClassVar[bool] = True
    argmax: ClassVar[bool] = False
    nms: ClassVar[bool] = False
    functions: ClassVar[list[str]] = ["encode_image", "encode_text"]
    rolled_out: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Port:
    """An input or an output of a model.

    Args:
        name: Name in the file's signature.
        shape: Shape of one example, without the batch dimension.
        dtype: Type that the model takes or gives.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class ModelInterface:
    """Inputs and outputs of the file of a model of one's own, which are those of its `predict`.

    Args:
        inputs: Inputs, in the order in which Keras flattens their structure.
        outputs: Outputs, in that order.
        structure: How the model takes its inputs: one tensor, a tuple, or a dictionary by `keys`.
        keys: Keys of the inputs of a dictionary.
        batch: Static batch size; None leaves it free, in a SavedModel only.
        uint8: Whether the file takes uint8 pixels and brings them into `pixel_range` inside the graph.
        resize_from: (height, width) of the uint8 pixels, if the graph resizes them.
        pixel_range: What the model takes for the darkest and the brightest pixel.
        nms: Whether the file of a detector decodes boxes and suppresses overlapping ones, in float32.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    structure: Literal["one", "tuple", "dict"] = "one"
    keys: tuple[str, ...] = ()
    batch: int | None = 1
    uint8: bool = False
    resize_from: tuple[int, int] | None = None
    pixel_range: tuple[float, float] = (0.0, 1.0)
    nms: bool = False
    masked: ClassVar[bool] = False
    argmax: ClassVar[bool] = False
    functions: ClassVar[None] = None
    rolled_out: ClassVar[bool] = False

    @property
    def dtype(self) -> str:
        """float32 if all inputs are, otherwise the type of the first that is not."""
        return next((port.dtype for port in self.inputs if port.dtype != "float32"), "float32")

    @property
    def given(self) -> tuple[Port, ...]:
        """Inputs of the file, before quantization."""
        if not self.uint8:
            return self.inputs
        (port,) = self.inputs
        shape = (*self.resize_from, port.shape[-1]) if self.resize_from else port.shape
        return (Port(port.name, shape, "uint8"),)

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "nms" or value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelInterface":
        """Return the interface that `to_json` described."""
        ports = {
            side: tuple(Port(row["name"], tuple(row["shape"]), row["dtype"]) for row in values[side])
            for side in ("inputs", "outputs")
        }
        others = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k not in ports}
        return cls(**ports, **others)


@dataclass(frozen=True)
class StreamInterface:
    """Inputs and outputs of a streaming file, which returns new states beside its answer.

    Args:
        samples: Number of samples that a call takes.
        states: Shape of each state, zeros at the begin.
        averaged: Number of time steps over which the answer is averaged.
        rate: Samples in a second.
    """

    samples: int
    states: tuple[tuple[int, ...], ...]
    averaged: int
    rate: int
    dtype: ClassVar[str] = "float32"
    batch: ClassVar[int] = 1
    uint8: ClassVar[bool] = False
    resize_from: ClassVar[None] = None
    masked: ClassVar[bool] = False
    functions: ClassVar[None] = None
    rolled_out: ClassVar[bool] = False

    @property
    def state_names(self) -> list[str]:
        """Names of the states as inputs; as outputs, `new_` stands before them."""
        return [f"state_{number}" for number in range(len(self.states))]

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        return dataclasses.asdict(self)


AnyInterface = Interface | TextInterface | PairInterface | ModelInterface | StreamInterface


def from_json(values: Mapping[str, Any]) -> AnyInterface:
    """Return the interface, of any kind, that its `to_json` described."""
    if "states" in values:
        return StreamInterface(**values | {"states": tuple(tuple(shape) for shape in values["states"])})
    if "structure" in values:
        return ModelInterface.from_json(values)
    if "image_shape" in values:
        return PairInterface(tuple(values["image_shape"]), values["tokens"])
    return TextInterface(**values) if "task" in values else Interface.from_json(values)
