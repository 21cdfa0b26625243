"""Training words of a recipe, with their arguments. Standard library only.

A recipe has them in an order in which none destroys the work of another, see `compression.recipes.language`.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from zoo.console.errors import UsageError

_PATTERN = re.compile(r"(\d+)([:x])(\d+)")


@dataclass(frozen=True)
class Pass:
    """Arguments of every training word.

    Args:
        epochs: Number of epochs; default, a share of the run's.
        learning_rate: Peak learning rate; default, a share of the run's.
    """

    epochs: int | None = None
    learning_rate: float | None = None
    # Shares of the run's epochs and learning rate, if the arguments have none.
    SHARES: ClassVar[tuple[float, float]] = (1.0, 0.5)
    # Epochs and learning rate for a finished model whose training is not known.
    USUAL: ClassVar[tuple[int, float]] = (4, 5e-4)

    def __post_init__(self) -> None:
        self.expect("epochs", self.epochs is None or self.epochs >= 1, "at least 1")
        self.expect("learning_rate", self.learning_rate is None or self.learning_rate > 0, "a number above 0")

    @property
    def word(self) -> str:
        return type(self).__name__.lower()

    def expect(self, name: str, holds: bool, expected: str) -> None:
        """Raise UsageError for an argument unless the condition holds."""
        if not holds:
            raise UsageError(f"--recipe {self.word}: {name}: expected {expected}, received {getattr(self, name)}")

    def __str__(self) -> str:
        common = {f.name for f in fields(Pass)}
        own = [f for f in fields(self) if f.name not in common]
        given = [
            _text(getattr(self, f.name)) if f is own[0] else f"{f.name}={_text(getattr(self, f.name))}"
            for f in sorted(fields(self), key=lambda f: f.name in common)
            if getattr(self, f.name) != f.default
        ]
        return f"{self.word}({', '.join(given)})" if given else self.word


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "|".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Channels(Pass):
    """Remove this share of every layer's units, filters, recurrent cells or attention heads, or keep LAYER:COUNT.

    The rest keeps its weights, or begins from scratch with init=scratch (Liu et al., 2019). Layers whose outputs meet
    in a sum or a product, as in a residual connection, keep their width unless coupled=true or keep names one of them.
    """

    share: float | None = None
    importance: Literal["l1", "taylor"] = "l1"
    skip: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    coupled: bool = False
    init: Literal["own", "scratch"] = "own"
    SHARES = (1.0, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share is None and not self.keep:
            raise UsageError("--recipe channels: expected share, a number above 0 and below 1, or keep")
        self.expect("share", self.share is None or 0 < self.share < 1, "a number above 0 and below 1")
        counted = all(re.fullmatch(r".+:0*[1-9][0-9]*", text) for text in self.keep)
        self.expect("keep", counted, "LAYER:COUNT, with a whole number of at least 1")
        self.expect("keep", len(self.counts) == len(self.keep), "each layer once")

    @property
    def counts(self) -> dict[str, int]:
        """Number of channels or heads that a layer keeps, by the layer's pattern."""
        return {layer: int(count) for layer, _, count in (text.rpartition(":") for text in self.keep)}


@dataclass(frozen=True)
class Prune(Pass):
    """Set this share of the weights to zero during training, the smallest first (Zhu & Gupta, 2017)."""

    sparsity: float | None = None
    pattern: str = "unstructured"
    schedule: Literal["polynomial", "constant"] = "polynomial"
    initial: float = 0.0
    begin: int = 0
    end: int | None = None
    frequency: int | None = None
    budget: Literal["lamp", "layer", "global"] = "lamp"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    first: bool = True
    last: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.pattern == "unstructured" or _PATTERN.fullmatch(self.pattern)
        self.expect("pattern", bool(known), "unstructured, a block such as 4x1, or zeros such as 2:4")
        if zeros := self.m_by_n:
            self.expect("pattern", 0 < zeros[0] < zeros[1], "M:N with 0 < M < N")
            share = zeros[0] / zeros[1]
            self.expect("sparsity", self.sparsity in (None, share), f"{share:g}, which {self.pattern} is")
            self.expect("budget", self.budget != "global", f"layer, because {self.pattern} fixes every layer's share")
            object.__setattr__(self, "sparsity", share)
        if block := self.block:
            self.expect("pattern", min(block) > 0, "a block of at least 1x1")
        self.expect("sparsity", self.sparsity is not None and 0 <= self.sparsity < 1, "a share from 0 to below 1")
        self.expect("initial", 0 <= self.initial <= self.sparsity, f"a share from 0 to the sparsity {self.sparsity:g}")
        self.expect("begin", self.begin >= 0, "a step from 0")
        self.expect("end", self.end is None or self.end > self.begin, f"a step after begin={self.begin}")
        self.expect("frequency", self.frequency is None or self.frequency >= 1, "at least 1 step")

    @property
    def shares(self) -> str:
        """How the layers share the zeros: by LAMP, all alike, or by one ranking of magnitudes; patterns are for all."""
        return "layer" if self.budget == "lamp" and self.pattern != "unstructured" else self.budget

    @property
    def block(self) -> tuple[int, int] | None:
        """(rows, columns) of weights that are pruned together."""
        return self._parsed("x")

    @property
    def m_by_n(self) -> tuple[int, int] | None:
        """(zeros, length) of every group of weights along the input axis."""
        return self._parsed(":")

    def _parsed(self, separator: str) -> tuple[int, int] | None:
        match = _PATTERN.fullmatch(self.pattern)
        return (int(match[1]), int(match[3])) if match and match[2] == separator else None


@dataclass(frozen=True)
class Cluster(Pass):
    """Let the weights of a layer share this many values, which are trained (Han et al., 2016).

    Evenly spaced values are the default. Han et al. found them the most accurate, and they compress best with gzip,
    because most weights fall into the few clusters around zero.
    """

    number: int | None = None
    init: Literal["linear", "density", "kmeans++"] = "linear"
    per_channel: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    SHARES = (0.5, 0.1)
    USUAL = (2, 1e-4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("number", self.number is not None and self.number >= 2, "at least 2 clusters")


@dataclass(frozen=True)
class Qat(Pass):
    """Train with weights and activations rounded as in the file (Jacob et al., 2018)."""

    skip: tuple[str, ...] = ()
    momentum: float = 0.99
    SHARES = (0.5, 0.1)
    USUAL = (1, 1e-5)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("momentum", 0 <= self.momentum < 1, "a number from 0 to below 1")


@dataclass(frozen=True)
class Distill(Pass):
    """Learn from a teacher, alone or as the loss of the other words: probabilities of classes (Hinton et al., 2015), or
    other outputs by their squared differences. Without a teacher, learn from the model as it was before the recipe.
    """

    teacher: tuple[str, ...] = ()
    temperature: float = 4.0
    alpha: float = 0.1
    match: tuple[str, ...] = ()
    weight: float = 1.0
    init: Literal["own", "teacher"] = "own"
    SHARES = (1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("temperature", self.temperature > 0, "a number above 0")
        self.expect("alpha", 0 <= self.alpha <= 1, "a share of the labels from 0 to 1")
        self.expect("weight", self.weight >= 0, "a number from 0")
        self.expect("match", all(p.count(":") == 1 for p in self.match), "STUDENT_LAYER:TEACHER_LAYER")
        one = len(self.teacher) < 2
        self.expect("match", one or not self.match, "none with several teachers, whose layers have no mean")
        self.expect("init", one or self.init == "own", "own with several teachers")
        self.expect("init", bool(self.teacher) or self.init == "own", "own, as the model itself is the teacher")


PASSES: dict[str, type[Pass]] = {c.__name__.lower(): c for c in (Channels, Prune, Cluster, Qat, Distill)}
