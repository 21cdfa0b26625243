"""Options of a compression besides its recipe, in groups. Standard library only."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.recipes.language import Kernel
from zoo.config.options import option, under
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError


@dataclass(frozen=True)
class ExportOptions:
    """What the file takes, and how it is written.

    Args:
        kernel: Form of recurrent layers: loop, unrolled, fused, or auto.
        uint8: Whether the file takes camera bytes, which it scales itself.
        input_size: (height, width) of those bytes, which the file resizes; default, the model's own size.
        batch: Static batch size of the file.
        bare: Whether tensor names and metadata are left out of the file, which runs without them.
        allow_flex: Whether operators are allowed that need TensorFlow's kernels on the device.
        seconds: Time limit of the conversion.
    """

    kernel: Kernel = "auto"
    uint8: bool = False
    input_size: tuple[int, int] | None = None
    batch: int = 1
    bare: bool = False
    allow_flex: bool = False
    seconds: float = 900.0  # the slowest conversion of the zoo, an unrolled LSTM in int8, takes 20 s on two cores


MODEL_FILE = "a model file"


@dataclass(frozen=True, kw_only=True)
@under(MODEL_FILE)
class ModelData:
    """The data of a model file, or other data for a run."""

    dataset: str | None = option("data set of a model file, or another one for a run")
    data: Path | None = option(
        "own data of a model file, or other data for a run: what zoo.train takes, or an .npz file with x_train,"
        " y_train, x_test and y_test; several inputs are x_train.NAME; labels may be left out"
    )
    input_range: tuple[float, ...] | None = option(
        "what a model file takes for the darkest and the brightest pixel, such as 0,255 (default: found by its"
        " answers)",
        metavar="LOW,HIGH",
    )

    def __post_init__(self) -> None:
        pair = self.input_range
        if pair is not None and (len(pair) != 2 or pair[0] >= pair[1]):
            received = ",".join(f"{value:g}" for value in pair)
            raise UsageError(f"--input-range: expected LOW,HIGH with LOW below HIGH, received {received}")


@dataclass(frozen=True)
class Calibration:
    """Training examples that set the ranges of activations in int8 and int16x8.

    Args:
        examples: Number of examples, or of tokens for models that generate text.
        seed: Random seed for their choice.
    """

    examples: int = 256
    seed: int = 0


@dataclass(frozen=True)
class StageTraining:
    """How the stages of a recipe are trained.

    Args:
        config: Configuration that the model was trained with. A stage takes a share of its epochs and learning rate.
        teachers: Function that returns the models that `distill` learns from. It is called in the strategy's scope.
        every_stage: Whether a file is exported and measured after each stage, and not only at the end.
    """

    config: TrainConfig
    teachers: Callable[[], list[Any]] | None = None
    every_stage: bool = True


@dataclass(frozen=True)
class Reporting:
    """How the work is reported while it goes on.

    Args:
        say: Function that is called with a sentence at each step of the work.
        verbose: Whether the progress of training is shown.
    """

    say: Callable[[str], None] = lambda text: None
    verbose: bool = False
