"""Differential privacy (`--private`): its parameters, and what a private run excludes. Standard library only.

The algorithm is DP-SGD (Abadi et al., 2016): the gradient of each example is clipped, and noise is added to their sum.
The privacy guide of the documentation says what this guarantees and what it does not.
"""

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.config import task_facts
from zoo.console import words
from zoo.console.errors import UsageError

KINDS = ("image", "vector")
# Arguments of models that have to be off in private training, and the reason.
UNFIT = {
    "batch_norm": "batch normalisation mixes the examples of a batch, so that there is no gradient of one example",
    "dropout": "its random numbers are drawn for a whole batch, and DP-SGD adds noise anyway",
}


@dataclass(frozen=True)
class DP:
    """Parameters of (epsilon, delta)-differential privacy by DP-SGD.

    Args:
        epsilon: Epsilon of the whole training, from which the noise is computed.
        noise: Standard deviation of the noise in units of `clip`, from which epsilon is computed.
        clip: Largest L2 norm of an example's gradient.
        delta: Probability with which the guarantee may fail.
    """

    epsilon: float | None = None
    noise: float | None = None
    clip: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise is None):
            received = "neither" if self.epsilon is None else "both"
            raise UsageError(f"--private dp: expected one of epsilon and noise, received {received}")
        for name in ("epsilon", "noise", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"--private dp: {name}: expected a number above 0, received {value:g}")
        if not 0 < self.delta < 1:
            raise UsageError(f"--private dp: delta: expected a number between 0 and 1, received {self.delta:g}")


def parse(text: str) -> DP:
    """Return the parameters that a text describes, such as `dp(epsilon=3, delta=1e-5, clip=1.0)`.

    Args:
        text: Value of `--private`.

    Raises:
        UsageError: Unknown word or argument, or a value that is not allowed.
    """
    known = {"dp": inspect.signature(DP).parameters}
    such_as = "dp(epsilon=3, delta=1e-5, clip=1) or dp(noise=1.1, clip=1)"
    _, arguments = words.parse("--private", text, known, what="kind of privacy", such_as=such_as)
    return DP(**arguments)


def check_accountant() -> None:
    """Raise UsageError unless the library for privacy accounting is installed."""
    if importlib.util.find_spec("dp_accounting") is None:
        raise UsageError(
            "--private: expected dp-accounting, which is not installed; pip install 'keras-compression-zoo[private]'"
        )


def check_inputs(what: str, task: str, kind: str, per_step: bool) -> None:
    """Raise UsageError unless training on these data can be private.

    Args:
        what: Subject of the message.
        task: Name of the task of the model.
        kind: Kind of the inputs.
        per_step: Whether every step of an input has a label.
    """
    if not task_facts.of(task).classifies:
        raise UsageError(f"{what}: expected a classifier of images or vectors, this is for {task}")
    if kind not in KINDS or per_step:
        received = f"{kind} with one label for each step" if per_step else kind
        raise UsageError(f"{what}: expected images or vectors with one label each, received {received}")


def check_examples(promise: DP, examples: int) -> None:
    """Raise UsageError for a delta that would allow a training to publish one of its examples.

    Args:
        promise: Parameters of the training.
        examples: Number of training examples.
    """
    if promise.delta >= 1 / examples:
        raise UsageError(
            f"--private dp: delta: expected less than 1 / {examples:,}, one over the number of training examples,"
            f" received {promise.delta:g}: a larger delta would allow publishing one of them"
        )


def headline(found: Mapping[str, Any]) -> str:
    """Return the guarantee of a run in one line.

    Args:
        found: `private` of metrics.json.
    """
    known = "" if found["key"] == "secret" else "; the noise is derived from --seed, which must stay secret"
    return (
        f"epsilon {found['epsilon']:.3f} at delta {found['delta']:g} for each training example (noise"
        f" {found['noise']:.4g}, clip {found['clip']:g}, {found['steps']:,} steps, sampling rate"
        f" {found['sampling_rate']:.3g}; {found['clipped']:.1%} of gradients clipped){known}"
    )


def check_searched(promise: str | None) -> None:
    """Raise UsageError for a search from a private run, because most of its recipes train.

    Args:
        promise: Value of `--private` of the run.
    """
    if promise:
        raise UsageError(
            f"compression.search: expected a run without --private, received {promise}: recipes of a search train on"
            " the private examples without noise; use compression.compress with a precision only"
        )


def of_file(promise: str | None, calibrated: bool) -> str | None:
    """Return a sentence about the privacy of a compressed file; None if the run is not private.

    Args:
        promise: Value of `--private` of the run.
        calibrated: Whether examples were used, for the ranges of activations or to choose layers to skip.
    """
    if not promise:
        return None
    if calibrated:
        return (
            f"--private {promise} covers the weights only: the ranges of activations and the rounding in this file, or"
            " the layers that were skipped, depend on examples without noise; dynamic, float16 and"
            " int4(rounding=nearest) use none"
        )
    return f"--private {promise} also covers this file: it was made from the weights alone"


def check_trained_on(promise: str | None, recipe: Any) -> None:
    """Raise UsageError for a recipe that would train a private run further, without noise.

    Args:
        promise: Value of `--private` of the run.
        recipe: Parsed recipe of compression.
    """
    trains = [*recipe.stages, *([recipe.distill] if recipe.distill else [])]
    if promise and trains:
        raise UsageError(
            f"--recipe {recipe}: expected a precision only, as the run was trained with --private {promise}:"
            f" {trains[0].word} would train on the private examples without noise"
        )
