"""The attacks that `--adversarial` and `zoo.attack` know, and what each takes. Standard library only.

Every attack changes each number of an input by at most eps (the L-infinity norm), and pixels stay in [0, 1].
"""

import inspect
from dataclasses import dataclass
from typing import Literal

from zoo.config import task_facts
from zoo.console import words
from zoo.console.errors import UsageError

PIXELS = (0.0, 1.0)
# Kinds of data whose inputs are numbers that can be changed a little.
KINDS = ("image", "vector", "sequence")


@dataclass(frozen=True)
class Attack:
    """What every attack takes.

    Args:
        eps: the most that a number of an input is changed by.
        step: by how much each step changes it, up the sign of the loss's gradient.
        start: from the input itself, or from a random place within eps of it.
    """

    eps: float | None = None
    step: float | None = None
    start: Literal["random", "clean"] = "random"

    def __post_init__(self) -> None:
        self.expect("eps", self.eps is not None and 0 < self.eps < float("inf"), "a number above 0")
        # From one end of what is allowed to the other.
        reach = 2 * self.eps
        self.expect("step", self.step is None or 0 < self.step <= reach, f"a number above 0, at most {reach:g}")

    @property
    def word(self) -> str:
        return type(self).__name__.lower()

    def expect(self, name: str, holds: bool, expected: str) -> None:
        """Raise UsageError for an argument unless the condition holds."""
        if not holds:
            received = getattr(self, name)
            raise UsageError(
                f"{self.word}: {name}: expected {expected}, received {'none' if received is None else received}"
            )


@dataclass(frozen=True)
class FGSM(Attack):
    """One step (Goodfellow et al., 2015), from a random start a longer one (Wong et al., 2020)."""

    @property
    def steps(self) -> int:
        return 1

    @property
    def size(self) -> float:
        """The step: of the papers, eps, and 1.25 times that from a random start."""
        return self.step or self.eps * (1.25 if self.start == "random" else 1)


@dataclass(frozen=True)
class PGD(Attack):
    """Several steps, after each of which what is too far is moved back (Madry et al., 2018)."""

    steps: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("steps", self.steps >= 1, "at least 1")

    @property
    def size(self) -> float:
        """The step: by default 2.5 eps / steps, with which every place can be reached from every other."""
        return self.step or min(2.5 * self.eps / self.steps, 2 * self.eps)


ATTACKS: dict[str, type[Attack]] = {kind.__name__.lower(): kind for kind in (FGSM, PGD)}


def parse(text: str) -> Attack:
    """Parse the attack that a training is to withstand, such as `pgd(eps=0.1, steps=7)`.

    Raises:
        UsageError: no such attack or argument, or a value that it cannot take.
    """
    known = {name: inspect.signature(kind).parameters for name, kind in ATTACKS.items()}
    such_as = "an attack such as pgd(eps=0.1, steps=7) or fgsm(eps=0.1)"
    name, arguments = words.parse("--adversarial", text, known, what="attack", such_as=such_as)
    try:
        return ATTACKS[name](**arguments)
    except UsageError as error:
        raise UsageError(f"--adversarial {error}") from None


def check_range(option: str, eps: float, kind: str) -> None:
    """Raise UsageError for an eps that is larger than all that pixels can be changed by.

    Args:
        option: where it was given, for the message.
        eps: the largest change.
        kind: of the inputs.
    """
    if kind == "image" and eps > PIXELS[1]:
        levels = f"; {eps:g} of 255 levels is {eps / 255:.4f}" if eps <= 255 else ""
        raise UsageError(f"{option}: expected at most 1, as pixels are from 0 to 1, received {eps:g}{levels}")


def check_inputs(what: str, task: str, kind: str, per_step: bool) -> None:
    """Raise UsageError unless an attack can change these inputs so that their class is another.

    Args:
        what: would be attacked, for the message.
        task: that is learnt.
        kind: of the inputs.
        per_step: whether there is a label a step.
    """
    if not task_facts.of(task).classifies:
        raise UsageError(f"{what}: expected a classifier of images or vectors, this is for {task}")
    if kind not in KINDS:
        raise UsageError(f"{what}: expected images or vectors, whose numbers can be changed a little, received {kind}")
    if per_step:
        raise UsageError(f"{what}: expected one label an example, received one a step")
