"""What `--private` can say: how little a trained model may depend on any one of its examples. Standard library only.

The one way is DP-SGD (Abadi et al., 2016): the gradient of each example is clipped, and noise is added to their sum.
What that promises, and what it does not, is in docs/PRIVACY.md.
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
# Arguments of models that are off in a private training, and why.
UNFIT = {
    "batch_norm": "a batch normalisation mixes the examples of a batch, whose gradients could not be told apart",
    "dropout": "its random numbers are drawn for a whole batch, and noise is added already",
}


@dataclass(frozen=True)
class DP:
    """(epsilon, delta)-differential privacy, by clipped gradients and noise.

    Args:
        epsilon: what all steps may come to, from which the noise follows.
        noise: standard deviation of the noise in units of `clip`, from which epsilon follows.
        clip: largest L2 norm of an example's gradient.
        delta: how likely the promise may fail.
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
    """Parse what a training promises, such as `dp(epsilon=3, delta=1e-5, clip=1.0)`.

    Raises:
        UsageError: no such word or argument, or a value that it cannot take.
    """
    known = {"dp": inspect.signature(DP).parameters}
    such_as = "dp(epsilon=3, delta=1e-5, clip=1) or dp(noise=1.1, clip=1)"
    _, arguments = words.parse("--private", text, known, what="kind of privacy", such_as=such_as)
    return DP(**arguments)


def check_accountant() -> None:
    """Raise UsageError unless the library that counts privacy is installed."""
    if importlib.util.find_spec("dp_accounting") is None:
        raise UsageError(
            "--private: expected dp-accounting, which is not installed; pip install 'keras-compression-zoo[private]'"
        )


def check_inputs(what: str, task: str, kind: str, per_step: bool) -> None:
    """Raise UsageError unless a training on these data can be private.

    Args:
        what: would be trained, for the message.
        task: that is learnt.
        kind: of the inputs.
        per_step: whether there is a label a step.
    """
    if not task_facts.of(task).classifies:
        raise UsageError(f"{what}: expected a classifier of images or vectors, this is for {task}")
    if kind not in KINDS or per_step:
        received = f"{kind}, one label a step" if per_step else kind
        raise UsageError(f"{what}: expected images or vectors with one label each, received {received}")


def check_examples(promise: DP, examples: int) -> None:
    """Raise UsageError where delta lets a training give one of its examples away altogether."""
    if promise.delta >= 1 / examples:
        raise UsageError(
            f"--private dp: delta: expected less than 1 / {examples:,}, the training examples, received"
            f" {promise.delta:g}: with more a training that publishes one of them would do"
        )


def headline(found: Mapping[str, Any]) -> str:
    """Return in one line what a run promises.

    Args:
        found: `private` of metrics.json.
    """
    known = "" if found["key"] == "secret" else "; its noise follows from --seed, which must stay secret"
    return (
        f"epsilon {found['epsilon']:.3f} at delta {found['delta']:g} for each training example (noise"
        f" {found['noise']:.4g}, clip {found['clip']:g}, {found['steps']:,} steps, sampling rate"
        f" {found['sampling_rate']:.3g}; {found['clipped']:.1%} of gradients clipped){known}"
    )


def check_searched(promise: str | None) -> None:
    """Raise UsageError for a search of recipes, of which most train, from a private run."""
    if promise:
        raise UsageError(
            f"compression.search: its recipes train on the examples that --private {promise} is a promise about,"
            " without noise, and would break it; expected compression.compress with a precision alone"
        )


def of_file(promise: str | None, calibrated: bool) -> str | None:
    """Return what a file of a run keeps of its promise, in one sentence, or None where it has none.

    Args:
        promise: `--private` of the run.
        calibrated: whether examples are looked at, for the ranges of activations or for layers to leave out.
    """
    if not promise:
        return None
    if calibrated:
        return (
            f"--private {promise} is a promise about the weights: the ranges of activations in this file, or the layers"
            " left out of it, were found on examples as they are, without noise; dynamic, float16 and int4 look at none"
        )
    return f"--private {promise} holds for this file as well: it was made from the weights alone"


def check_trained_on(promise: str | None, recipe: Any) -> None:
    """Raise UsageError for a recipe that would train a private run on, without noise.

    Args:
        promise: `--private` of the run.
        recipe: of compression, parsed.
    """
    trains = [*recipe.stages, *([recipe.distill] if recipe.distill else [])]
    if promise and trains:
        raise UsageError(
            f"--recipe {recipe}: {trains[0].word} trains on the examples that --private {promise} is a promise about,"
            " without noise, and would break it; expected a precision alone"
        )
