"""Recipes: words joined by `+`, such as `prune(0.8) + int8(skip=head)`. Standard library only."""

import dataclasses
import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from compression.recipes.passes import PASSES, Cluster, Distill, Pass, Qat
from zoo.console import words
from zoo.console.errors import UsageError

Ends = Literal["integer", "float32"]
# How recurrent layers are exported; auto is loop, and unrolled where a recipe calibrates.
Kernel = Literal["auto", "loop", "unrolled", "fused"]


def float32() -> None:
    """Weights and arithmetic as they were trained."""


def float16() -> None:
    """Weights stored in float16, arithmetic in float32 (or float16 on a GPU)."""


def dynamic(skip: tuple[str, ...] = (), per_tensor: bool = False) -> None:
    """Weights in int8, one scale a channel; activations are quantized while the file runs. No calibration."""


def int8(skip: tuple[str, ...] = (), io: Ends = "integer", per_tensor: bool = False, unfold: bool = True) -> None:
    """Weights, activations and arithmetic in int8, with ranges from calibration; integer inputs and outputs."""


def int16x8(io: Ends = "integer") -> None:
    """Activations in int16, weights in int8, with ranges from calibration: more precise than int8, and slower."""


def int4(skip: tuple[str, ...] = (), per_tensor: bool = False) -> None:
    """Weights in int4, one scale a channel; activations are quantized while the file runs. No calibration."""


# What a file's weights and arithmetic are stored and done in. A recipe has one of them, or float32, or int8 after qat.
PRECISIONS: dict[str, Callable] = {f.__name__: f for f in (float32, float16, dynamic, int8, int16x8, int4)}
CALIBRATED = ("int8", "int16x8")
WORDS: dict[str, Callable] = PASSES | PRECISIONS
# What a word would undo of one that came before it, by (earlier, later).
_UNDONE = {
    ("prune", "channels"): "removing units afterwards would change the sparsity that pruning reached",
    ("cluster", "channels"): "removing units afterwards would take some of the shared values away",
    ("qat", "channels"): "the ranges that were trained belong to units that would be removed",
    ("cluster", "prune"): "pruning afterwards would tear weights out of the clusters that share them",
    ("qat", "prune"): "pruning afterwards would train the weights off the grid that they were rounded to",
    ("qat", "cluster"): "clustering afterwards would move the weights off the grid that they were rounded to",
}
LONGEST_NAME = 80  # characters of a file name, before its suffix

_BETWEEN = re.compile(r"\+(?![^(]*\))")  # a + outside of parentheses


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Args:
        precision: a key of PRECISIONS.
        skip: patterns of the layers that stay in float32.
        io: of an integer recipe: whether its inputs and outputs are integers too.
        per_tensor: one scale a weight tensor instead of one an output channel: smaller tables, coarser weights.
        unfold: of int8: lay a first convolution of grey images out so that it is done sooner, with the same outputs,
            where that costs little; see `compression.flatbuffers.unfold`.
        stages: the training passes, in order.
        distill: the teacher that every one of them learns from, if any.
    """

    precision: str
    skip: tuple[str, ...] = ()
    io: Ends = "integer"
    per_tensor: bool = False
    unfold: bool = True
    stages: tuple[Pass, ...] = ()
    distill: Distill | None = None

    @property
    def calibrated(self) -> bool:
        return self.precision in CALIBRATED

    @property
    def skippable(self) -> bool:
        """Whether layers can be left in float32."""
        return "skip" in inspect.signature(PRECISIONS[self.precision]).parameters

    @property
    def integer_io(self) -> bool:
        """Whether inputs and outputs are integers; a file with skipped layers keeps float32 at both ends."""
        return self.calibrated and self.io == "integer" and not self.skip

    @property
    def one_scale(self) -> bool:
        """Whether each weight tensor has one scale: scales a channel would make many values of a few shared ones."""
        return self.per_tensor or any(isinstance(stage, Cluster) and not stage.per_channel for stage in self.stages)

    @property
    def file(self) -> "Recipe":
        """The precision alone, with its arguments: what is left to do when the stages are done."""
        return dataclasses.replace(self, per_tensor=self.one_scale, stages=(), distill=None)

    def __str__(self) -> str:
        given = [f"skip={'|'.join(self.skip)}"] if self.skip else []
        given += [f"io={self.io}"] if self.io != "integer" else []
        given += ["per_tensor=true"] if self.per_tensor else []
        given += [] if self.unfold else ["unfold=false"]
        precision = f"{self.precision}({', '.join(given)})" if given else self.precision
        teacher = [self.distill] if self.distill and self.distill not in self.stages else []
        return " + ".join(map(str, [*self.stages, *teacher, precision]))

    @property
    def file_name(self) -> str:
        """A name for the file, safe on every file system."""
        return _safe(str(self))

    @property
    def training_name(self) -> str:
        """A name for what is trained: the same for every precision, but where training depends on it."""
        trained_for = any(isinstance(stage, Qat) for stage in self.stages)
        trained = dataclasses.replace(self, unfold=True)
        alone = dataclasses.replace(trained, precision="float32", skip=(), io="integer", per_tensor=False)
        return _safe(str(trained if trained_for else alone).removesuffix(" + float32"))


def _safe(text: str) -> str:
    """Return a text as a file's name; a long one is cut, and ends in a hash of the whole."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def parse(text: str) -> Recipe:
    """Parse a recipe.

    Args:
        text: `word + word(argument, name=value)`; several values of one argument are separated by `|`.

    Raises:
        UsageError: a word or an argument that does not exist, a value of another type or out of range, or words that
            cannot be combined.
    """
    found = [_word(part) for part in _BETWEEN.split(text)]
    _check_combination([name for name, _ in found])
    passes = [PASSES[name](**arguments) for name, arguments in found if name in PASSES]
    distill = next((p for p in passes if isinstance(p, Distill)), None)
    stages = tuple(p for p in passes if p is not distill) or tuple(passes)
    qat = next((p for p in stages if isinstance(p, Qat)), None)
    precision, arguments = next(
        ((n, a) for n, a in found if n in PRECISIONS), ("int8", {"skip": qat.skip}) if qat else ("float32", {})
    )
    recipe = Recipe(precision, **arguments, stages=stages, distill=distill)
    if qat and precision in ("float32", "float16"):
        raise UsageError(
            f"--recipe {text!r}: qat trains for integers; expected int8, dynamic, int4 or int16x8, received {precision}"
        )
    if qat and qat.skip != recipe.skip:
        raise UsageError(
            f"--recipe {text!r}: qat and {precision} must skip the same layers; received {_listed(qat.skip)} and"
            f" {_listed(recipe.skip)}"
        )
    if distill and stages != (distill,) and (distill.epochs or distill.learning_rate):
        raise UsageError(
            f"--recipe {text!r}: distill is the loss of the other words here; give epochs and learning_rate to them"
        )
    return recipe


def _listed(patterns: tuple[str, ...]) -> str:
    return "|".join(patterns) or "none"


def _check_combination(names: list[str]) -> None:
    """Raise UsageError for words given twice, several precisions, or an order that destroys an earlier stage."""
    precisions = [name for name in names if name in PRECISIONS]
    if len(precisions) > 1:
        raise UsageError(f"--recipe: expected one precision, received {len(precisions)}: {', '.join(precisions)}")
    for later, name in enumerate(names):
        for earlier in names[:later]:
            if earlier == name:
                raise UsageError(f"--recipe: {name} is given twice")
            if earlier in PRECISIONS and name != "distill":
                raise UsageError(
                    f"--recipe: {name} after {earlier} would destroy {earlier}: a file is not trained; put {name} first"
                )
            if why := _UNDONE.get((earlier, name)):
                raise UsageError(f"--recipe: {name} after {earlier} would destroy {earlier}: {why}; put {name} first")


def _word(text: str) -> tuple[str, dict[str, Any]]:
    known = {name: parameters(name) for name in WORDS}
    such_as = "words such as int8 or int8(skip=head) joined by +"
    return words.parse("--recipe", text, known, what="recipe word", such_as=such_as)


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a word, its own first: those that every pass takes are given by name."""
    known = inspect.signature(WORDS[name]).parameters
    common = {f.name for f in dataclasses.fields(Pass)} if name in PASSES else set()
    return dict(sorted(known.items(), key=lambda item: item[0] in common))
