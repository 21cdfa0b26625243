"""Options of a compression besides its recipe, in groups. Standard library only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from compression.recipes.language import Kernel, Recipe
from zoo.config.groups import Capabilities, Optimisation, StrategyOptions
from zoo.config.options import option, under
from zoo.config.run_options import MODEL_FILE
from zoo.config.train_config import TrainConfig, flag
from zoo.guests.model import BATCH_SIZE

Nms = Literal["host", "file"]
# Options that say how a recipe trains. Its seed also chooses examples.
_OF_TRAINING = {
    *(field.name for group in (Optimisation, StrategyOptions, Capabilities) for field in fields(group)),
    *("augment", "shift"),
} - {"seed"}


@dataclass(frozen=True)
class ExportOptions:
    """What the file takes, and how it is written.

    Args:
        kernel: Form of recurrent layers: loop, unrolled, fused, or auto.
        uint8: Whether the file takes camera bytes, which it scales itself.
        input_size: (height, width) of those bytes, which the file resizes; default, the model's own size.
        batch: Static batch size of the file; None leaves it free, in a SavedModel only.
        argmax: Whether a file of masks gives the class of each pixel in place of the scores of all classes.
        nms: Where the boxes of a detector are decoded and overlapping ones suppressed: on the host, or in the file.
        bare: Whether tensor names and metadata are left out of the file, which runs without them.
        allow_flex: Whether operators are allowed that need TensorFlow's kernels on the device.
        seconds: Time limit of the conversion.
    """

    kernel: Kernel = "auto"
    uint8: bool = False
    input_size: tuple[int, int] | None = None
    batch: int | None = 1
    argmax: bool = False
    nms: Nms = "host"
    bare: bool = False
    allow_flex: bool = False
    seconds: float = 900.0  # the slowest conversion of the zoo, an unrolled LSTM in int8, takes 20 s on two cores


@dataclass(frozen=True, kw_only=True)
@under(MODEL_FILE)
class ModelTraining:
    """How words that train go on with a model file, whose training nobody told us."""

    epochs: int | None = option(
        "for a model file: number of epochs of which each training word takes a share (default: prune and channels"
        " train for 4, cluster for 2, qat for 1)"
    )
    batch_size: int | None = option(f"for a model file: number of examples in a training step (default: {BATCH_SIZE})")
    learning_rate: float | None = option(
        "for a model file: learning rate of which each training word takes a share (default: prune and channels train"
        " at 5e-4, cluster at 1e-4, qat at 1e-5)"
    )
    augment: str | None = option(
        "for a model file: random changes of training images, as in zoo.train: none, light, standard, strong, or words"
        " joined by + (default: none)",
        metavar="RECIPE",
    )


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


def unfollowed(recipe: Recipe, given: Mapping[str, Any]) -> str:
    """Return which options have no effect because a recipe neither trains nor takes examples; empty if all have one.

    Args:
        recipe: Recipe of words, which `auto` is not.
        given: Options that differ from their defaults, by name.
    """
    if recipe.stages:
        return ""
    training = [name for name in given if name in _OF_TRAINING]
    chosen = [n for n in given if n == "calibration" or (n == "seed" and not given.get("skip_worst"))]
    found = [(training, "does not train")] + ([] if recipe.takes_examples else [(chosen, "takes no examples")])
    return "; ".join(
        f"{recipe} {why}: {', '.join(map(flag, names))} {'have' if len(names) > 1 else 'has'} no effect"
        for names, why in found
        if names
    )
