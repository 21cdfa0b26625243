"""The attacks of `--adversarial` and `zoo.attack`, and their arguments. Standard library only.

Every attack changes each value of an input by at most eps (L-infinity norm), and pixels stay in [0, 1].
"""

import inspect
from dataclasses import dataclass
from typing import Literal

from zoo.config import task_facts
from zoo.console import words
from zoo.console.errors import UsageError

PIXELS = (0.0, 1.0)
# Kinds of data with numeric inputs, which can be changed by small amounts.
KINDS = ("image", "vector", "sequence")


@dataclass(frozen=True)
class Attack:
    """Arguments that all attacks have.

    Args:
        eps: Largest change of an input value.
        step: Change of each value in one step, in the direction of the sign of the loss's gradient.
        start: Starting point: the input itself, or a random point within eps of it.
    """

    eps: float | None = None
    step: float | None = None
    start: Literal["random", "clean"] = "random"

    def __post_init__(self) -> None:
        self.expect("eps", self.eps is not None and 0 < self.eps < float("inf"), "a number above 0")
        # Distance between the two ends of the allowed interval.
        reach = 2 * self.eps
        self.expect("step", self.step is None or 0 < self.step <= reach, f"a number above 0, at most {reach:g}")

    @property
    def word(self) -> str:
        return type(self).__name__.lower()

    def expect(self, name: str, holds: bool, expected: str) -> None:
        """Raise UsageError for an argument unless a condition holds.

        Args:
            name: Name of the argument.
            holds: Whether the condition holds.
            expected: Description of allowed values, for the message.
        """
        if not holds:
            received = getattr(self, name)
            raise UsageError(
                f"{self.word}: {name}: expected {expected}, received {'none' if received is None else received}"
            )


@dataclass(frozen=True)
class FGSM(Attack):
    """One step (Goodfellow et al., 2015), which is longer from a random start (Wong et al., 2020)."""

    @property
    def steps(self) -> int:
        return 1

    @property
    def size(self) -> float:
        """Size of the step; by default that of the papers: eps, or 1.25 eps from a random start."""
        return self.step or self.eps * (1.25 if self.start == "random" else 1)


@dataclass(frozen=True)
class PGD(Attack):
    """Several steps, each followed by a projection onto the allowed interval (Madry et al., 2018)."""

    steps: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("steps", self.steps >= 1, "at least 1")

    @property
    def size(self) -> float:
        """Size of a step; by default 2.5 eps / steps, with which any allowed point can be reached from any other."""
        return self.step or min(2.5 * self.eps / self.steps, 2 * self.eps)


ATTACKS: dict[str, type[Attack]] = {kind.__name__.lower(): kind for kind in (FGSM, PGD)}


def parse(text: str) -> Attack:
    """Return the attack that a text describes, such as `pgd(eps=0.1, steps=7)`.

    Args:
        text: Value of `--adversarial`.

    Raises:
        UsageError: Unknown attack or argument, or a value that is not allowed.
    """
    known = {name: inspect.signature(kind).parameters for name, kind in ATTACKS.items()}
    such_as = "an attack such as pgd(eps=0.1, steps=7) or fgsm(eps=0.1)"
    name, arguments = words.parse("--adversarial", text, known, what="attack", such_as=such_as)
    try:
        return ATTACKS[name](**arguments)
    except UsageError as error:
        raise UsageError(f"--adversarial {error}") from None


def check_range(option: str, eps: float, kind: str) -> None:
    """Raise UsageError for an eps that exceeds the range of pixels.

    Args:
        option: Option that eps was given in, for the message.
        eps: Largest change of a value.
        kind: Kind of the inputs.
    """
    if kind == "image" and eps > PIXELS[1]:
        levels = f"; {eps:g} of 255 levels is {eps / 255:.4f}" if eps <= 255 else ""
        raise UsageError(f"{option}: expected at most 1, as pixels range from 0 to 1, received {eps:g}{levels}")


def check_inputs(what: str, task: str, kind: str, per_step: bool) -> None:
    """Raise UsageError unless a model of these inputs can be attacked.

    Args:
        what: Subject of the message.
        task: Name of the task of the model.
        kind: Kind of the inputs.
        per_step: Whether every step of an input has a label.
    """
    if not task_facts.of(task).classifies:
        raise UsageError(f"{what}: expected a classifier of images or vectors, this is for {task}")
    if kind not in KINDS:
        raise UsageError(
            f"{what}: expected images or vectors, whose values can be changed by small amounts, received {kind}"
        )
    if per_step:
        raise UsageError(f"{what}: expected one label for each example, received one for each step")
