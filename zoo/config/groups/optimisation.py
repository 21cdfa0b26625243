"""How the weights are fitted: length, optimizer, learning rate, loss and numerics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoo.config import task_facts
from zoo.config.options import SEEDS, option, under
from zoo.console.errors import UsageError


@dataclass(frozen=True, kw_only=True)
@under("optimisation")
class Optimisation:
    """How the weights are fitted: length, optimizer, learning rate, loss and numerics."""

    epochs: int | None = option(
        "number of epochs, passes over the training examples; 0, with --pretrained or --init-from, takes the weights as"
        " they are",
        within=(0, 1_000_000),
    )
    steps_per_epoch: int = option(
        "number of steps after which an epoch ends, with validation and a checkpoint; the next epoch continues with the"
        " examples that follow (0: one pass over all examples)",
        0,
        within=(0, 1_000_000_000),
    )
    batch_size: int | None = option(
        "number of examples in a step over all replicas (the global batch size)", within=(1, 1_000_000)
    )
    optimizer: Literal["adamw", "sgd", "adagrad"] | None = option("optimizer; sgd has Nesterov momentum 0.9")
    learning_rate: float | None = option("peak learning rate, reached at the end of the warm-up", within=(0, 1_000))
    layer_decay: float | None = option(
        "factor of the learning rate for each layer further from the output (default: 1)", within=(0.01, 1)
    )
    beta_1: float | None = option("decay of the running mean of gradients in adamw (default: 0.9)", within=(0, 0.9999))
    schedule: Literal["cosine", "constant", "inverse_sqrt"] | None = option(
        "learning rate after the warm-up: cosine decay to zero, constant, or inverse square root of the step (Vaswani"
        " et al., 2017)"
    )
    warmup: float | None = option(
        "share of all steps in which the learning rate rises linearly from zero", within=(0, 1)
    )
    weight_decay: float | None = option(
        "decoupled weight decay of kernels (Loshchilov & Hutter, 2019)", within=(0, 1_000)
    )
    clip_norm: float | None = option("largest global norm of the gradients; 0: no clipping", within=(0, 1e9))
    label_smoothing: float | None = option(
        "share of the target probability that is spread over all classes", within=(0, 0.99)
    )
    class_weights: Literal["none", "balanced"] = option(
        "weights of the classes in the loss; balanced: inverse to their frequency", "none"
    )
    sampling: Literal["all", "balanced"] = option(
        "examples of an epoch: each of them once (all), or equally many of each class, with those of rare classes"
        " repeated (balanced)",
        "all",
    )
    focal_gamma: float = option(
        "exponent of the focal loss, which gives less weight to examples that are already right (Lin et al., 2017;"
        " 0: cross-entropy)",
        0.0,
        within=(0, 10),
    )
    dice: float | None = option(
        "weight of the Dice loss beside the cross-entropy of pixels, for masks with rare classes (Milletari et al.,"
        " 2016; default: 0)",
        within=(0, 100),
    )
    early_stopping: int = option(
        "number of epochs without a better validation result after which training stops; 0: never",
        0,
        within=(0, 1_000_000),
    )
    keep: Literal["best", "last"] = option("epoch whose weights are saved; best: by validation", "best")
    precision: Literal["float32", "bfloat16", "float64"] | None = option(
        "numeric precision; bfloat16 computes in bfloat16 and keeps float32 weights, float64 is slow and meant for"
        " telling rounding errors from bugs (default: float32; on a TPU bfloat16)"
    )
    deterministic: bool = option(
        "use deterministic operations: the same seed gives the same bits, also after --resume; slower", False
    )
    seed: int = option("random seed for weights, shuffling and dropout", 0, within=SEEDS)


def check_used(options: Optimisation, task: str, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Raise UsageError for an option that would change nothing.

    Args:
        options: Options as they were given.
        task: Task that is learnt.
        usual: Default settings, by name.

    Returns:
        The default settings of options that do not apply to the task.
    """
    facts, found = task_facts.of(task), {}
    if facts.not_smoothed:
        found["label_smoothing"] = 0.0
        if smoothing := options.label_smoothing:
            raise UsageError(f"--label-smoothing {smoothing:g}: expected 0 for {task}: {facts.not_smoothed}")
    if facts.not_rounded:
        found["precision"] = "float32"
        if options.precision == "bfloat16":
            raise UsageError(f"--precision bfloat16: expected float32 for {task}: {facts.not_rounded}")
    optimizer = options.optimizer or usual["optimizer"]
    if optimizer != "adamw" and options.beta_1 not in (None, usual["beta_1"]):
        raise UsageError(f"--beta-1 {options.beta_1:g}: expected with --optimizer adamw, received {optimizer}")
    return found
