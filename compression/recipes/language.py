"""Language of recipes: words joined by `+`, such as `prune(0.8) + int8(skip=head)`. Standard library only."""

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
from zoo.console.values import Bytes

Ends = Literal["integer", "float32"]
# Form of exported recurrent layers; auto is loop, or unrolled if the recipe calibrates.
Kernel = Literal["auto", "loop", "unrolled", "fused"]
Rounding = Literal["learnt", "nearest"]
Ranges = Literal["minmax", "mse"]

# Number of patches that the first operators are computed in.
Patches = Literal["auto", 1, 2, 3, 4, 5, 6, 8, 10, 12, 16]


def float32() -> None:
    """Weights and arithmetic in float32, as trained."""


def float16() -> None:
    """Weights stored in float16, arithmetic in float32 (or float16 on a GPU)."""


def dynamic(skip: tuple[str, ...] = (), per_tensor: bool = False) -> None:
    """Weights in int8, one scale per channel; activations are quantized at run time. No calibration."""


def int8(
    skip: tuple[str, ...] = (),
    io: Ends = "integer",
    per_tensor: bool = False,
    unfold: bool = True,
    ranges: Ranges = "minmax",
    equalize: bool = False,
    correct_bias: bool = False,
    rounding: Rounding = "nearest",
    patches: Patches = 1,
    recompute: float = 0.25,
    plan: bool = False,
) -> None:
    """Weights, activations and arithmetic in int8, with ranges from calibration; integer inputs and outputs.
    ranges=mse cuts off rare large activations where that lowers the squared error; equalize=true gives all channels
    between two layers the same range, and changes no output but for rounding; correct_bias=true removes what rounding
    shifts the mean of each layer's outputs by (Nagel et al., 2019); rounding=learnt rounds weights as int4 does.
    For microcontrollers, with the same outputs: patches=auto computes the first layers patch by patch, in bands of rows
    (Lin et al., 2021), so that they take less memory and at most a share recompute of multiply-adds more; plan=true
    writes a plan of the arena, by which sums, reshapes and patches share memory.
    """


def int16x8(io: Ends = "integer") -> None:
    """Activations in int16, weights in int8, with ranges from calibration: more precise than int8, and slower."""


def int4(
    skip: tuple[str, ...] = (), per_tensor: bool = False, rounding: Rounding = "learnt", mixed: Bytes | None = None
) -> None:
    """Weights in int4, one scale per channel, rounded so that training examples change each layer's outputs least
    (rounding=nearest needs no examples); activations are quantized at run time. Layers that lose most stay in int8:
    3.5 % of the weights, at most 200,000, or as many as fit into a file of mixed=BYTES, such as 52KiB or 3MB.
    """


# Types of the weights and of the arithmetic of a file. A recipe without one has float32, or int8 after qat.
PRECISIONS: dict[str, Callable] = {f.__name__: f for f in (float32, float16, dynamic, int8, int16x8, int4)}
CALIBRATED = ("int8", "int16x8")
WORDS: dict[str, Callable] = PASSES | PRECISIONS
# Harm that a later word would do to an earlier one, by (earlier, later).
_UNDONE = {
    ("prune", "channels"): "removing units afterwards would change the sparsity that pruning reached",
    ("cluster", "channels"): "removing units afterwards would remove some of the shared values",
    ("qat", "channels"): "the ranges that were trained belong to units that would be removed",
    ("cluster", "prune"): "pruning afterwards would take weights out of their clusters",
    ("qat", "prune"): "pruning afterwards would train the weights off the grid that they were rounded to",
    ("qat", "cluster"): "clustering afterwards would move the weights off the grid that they were rounded to",
}
MOST_RECOMPUTED = 10  # largest share of multiply-adds that patches may add
LONGEST_NAME = 80  # largest number of characters of a file name without its suffix

_BETWEEN = re.compile(r"\+(?![^(]*\))")  # a + outside of parentheses


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Args:
        precision: Key of PRECISIONS.
        skip: Patterns of the layers that stay in float32.
        io: Type of inputs and outputs in int8 and int16x8: integer or float32.
        per_tensor: Whether a weight tensor has one scale instead of one per output channel: smaller tables, coarser
            weights.
        unfold: Whether int8 files have a first convolution of grey images in a faster layout with the same outputs, if
            that adds few bytes; see `compression.flatbuffers.unfold`.
        ranges: Ranges of activations in int8: from the smallest to the largest value that was seen, or with the least
            squared error.
        equalize: Whether int8 files have the ranges of channels equalized between layers.
        correct_bias: Whether biases in int8 files are corrected, so that rounding shifts no mean.
        rounding: How weights are rounded: learnt from examples in int4 and int8, or each to the nearest value.
        patches: Number of patches that the first operators of an int8 file are computed in, or auto.
        recompute: Largest share of multiply-adds that patches may add.
        plan: Whether an int8 file has a plan of the arena for TFLite Micro.
        mixed: Largest number of bytes of an int4 file whose most sensitive layers are in int8.
        stages: Training words, in order.
        distill: Teachers that all of them learn from, if any.
    """

    precision: str
    skip: tuple[str, ...] = ()
    io: Ends = "integer"
    per_tensor: bool = False
    unfold: bool = True
    ranges: Ranges = "minmax"
    equalize: bool = False
    correct_bias: bool = False
    rounding: Rounding = "nearest"
    patches: Patches = 1
    recompute: float = 0.25
    plan: bool = False
    mixed: int | None = None
    stages: tuple[Pass, ...] = ()
    distill: Distill | None = None

    @property
    def calibrated(self) -> bool:
        return self.precision in CALIBRATED

    @property
    def learns(self) -> bool:
        """Whether the rounding of weights is learnt from examples."""
        return self.precision in ("int4", "int8") and self.rounding == "learnt"

    @property
    def saves_memory(self) -> bool:
        """Whether the file is laid out anew for TFLite Micro."""
        return self.patches != 1 or self.plan

    @property
    def takes_examples(self) -> bool:
        """Whether the file depends on training examples besides the model."""
        return self.calibrated or self.learns

    @property
    def skippable(self) -> bool:
        """Whether layers can be left in float32."""
        return "skip" in inspect.signature(PRECISIONS[self.precision]).parameters

    @property
    def integer_io(self) -> bool:
        """Whether inputs and outputs are integers; a file with skipped layers has float32 ones."""
        return self.calibrated and self.io == "integer" and not self.skip

    @property
    def one_scale(self) -> bool:
        """Whether each weight tensor has one scale; scales per channel would turn few shared values into many."""
        return self.per_tensor or any(isinstance(stage, Cluster) and not stage.per_channel for stage in self.stages)

    @property
    def file(self) -> "Recipe":
        """The precision with its arguments, which is what remains to be done after the stages."""
        return dataclasses.replace(self, per_tensor=self.one_scale, stages=(), distill=None)

    def __str__(self) -> str:
        given = [f"skip={'|'.join(self.skip)}"] if self.skip else []
        given += [f"io={self.io}"] if self.io != "integer" else []
        given += ["per_tensor=true"] if self.per_tensor else []
        given += [] if self.unfold else ["unfold=false"]
        given += [f"ranges={self.ranges}"] if self.ranges != "minmax" else []
        given += [f"{name}=true" for name in ("equalize", "correct_bias") if getattr(self, name)]
        if self.rounding != _usual_rounding(self.precision, self.stages):
            given.append(f"rounding={self.rounding}")
        given += [f"patches={self.patches}"] if self.patches != 1 else []
        given += [f"recompute={self.recompute:g}"] if self.recompute != Recipe.recompute else []
        given += ["plan=true"] if self.plan else []
        given += [f"mixed={self.mixed}"] if self.mixed else []
        precision = f"{self.precision}({', '.join(given)})" if given else self.precision
        teacher = [self.distill] if self.distill and self.distill not in self.stages else []
        return " + ".join(map(str, [*self.stages, *teacher, precision]))

    @property
    def file_name(self) -> str:
        """Name for the file, safe on every file system."""
        return _safe(str(self))

    @property
    def training_name(self) -> str:
        """Name for the trained stages; precisions share it unless training depends on the precision."""
        trained_for = any(isinstance(stage, Qat) for stage in self.stages)
        usual = {"unfold": True, "correct_bias": False, "mixed": None, "patches": 1, "plan": False}
        usual["recompute"] = Recipe.recompute
        trained = dataclasses.replace(self, **usual, rounding=_usual_rounding(self.precision, self.stages))
        others = {"skip": (), "io": "integer", "per_tensor": False, "ranges": "minmax", "equalize": False}
        others |= {"rounding": "nearest"}
        alone = dataclasses.replace(trained, precision="float32", **others)
        return _safe(str(trained if trained_for else alone).removesuffix(" + float32"))


def _safe(text: str) -> str:
    """Return a text as a file name; a long one is cut, and ends in a hash of the whole text."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def parse(text: str) -> Recipe:
    """Parse a recipe.

    Args:
        text: Recipe such as `word + word(argument, name=value)`; several values of one argument are separated by `|`.

    Raises:
        UsageError: A word or an argument does not exist, a value has the wrong type or range, or words cannot be
            combined.
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
    _check_rounding(text, precision, stages, arguments)
    _check_memory(text, arguments)
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
    if qat and (recipe.ranges != "minmax" or recipe.equalize):
        given = "ranges" if recipe.ranges != "minmax" else "equalize"
        raise UsageError(f"--recipe {text!r}: int8: {given} would replace the ranges that qat trains; leave it out")
    if distill and stages != (distill,) and (distill.epochs or distill.learning_rate):
        raise UsageError(
            f"--recipe {text!r}: distill is the loss of the other words here; give them epochs and learning_rate"
        )
    return recipe


def _usual_rounding(precision: str, stages: tuple[Pass, ...]) -> Rounding:
    """Return how weights are rounded unless the recipe says so."""
    return "learnt" if precision == "int4" and _trained_for_values(stages) is None else "nearest"


def _trained_for_values(stages: tuple[Pass, ...]) -> str | None:
    """Return the word that trained weights for the values that nearest rounding gives, if any did."""
    return next((stage.word for stage in stages if isinstance(stage, (Qat, Cluster))), None)


def _check_rounding(text: str, precision: str, stages: tuple[Pass, ...], arguments: dict[str, Any]) -> None:
    """Complete the arguments of a precision, and refuse those that cannot be combined."""
    rounding = arguments.setdefault("rounding", _usual_rounding(precision, stages))
    mixed, word = arguments.get("mixed"), _trained_for_values(stages)
    if rounding == "learnt" and word:
        raise UsageError(
            f"--recipe {text!r}: {precision}: rounding=learnt would move the weights off the values that {word} trained"
            "; expected rounding=nearest"
        )
    if mixed is not None and mixed < 1:
        raise UsageError(f"--recipe {text!r}: int4: mixed: expected at least 1 byte, received {mixed}")
    if mixed is not None and rounding == "nearest":
        raise UsageError(
            f"--recipe {text!r}: int4: mixed measures on examples which layers need int8; expected rounding=learnt,"
            " without cluster and qat, received rounding=nearest"
        )


def _check_memory(text: str, arguments: dict[str, Any]) -> None:
    """Refuse shares of multiply-adds that mean nothing."""
    share = arguments.get("recompute")
    if share is not None and not 0 < share <= MOST_RECOMPUTED:
        raise UsageError(
            f"--recipe {text!r}: int8: recompute: expected a share above 0, at most {MOST_RECOMPUTED}, received"
            f" {share:g}"
        )
    if share is not None and arguments.get("patches", 1) == 1:
        raise UsageError(
            f"--recipe {text!r}: int8: recompute is what patches may add; expected it with patches=auto or a number"
        )


def _listed(patterns: tuple[str, ...]) -> str:
    return "|".join(patterns) or "none"


def _check_combination(names: list[str]) -> None:
    """Refuse words given twice, several precisions, and an order that destroys an earlier stage."""
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
    """Return the arguments of a word, its own first, then those that every training word takes."""
    known = inspect.signature(WORDS[name]).parameters
    common = {f.name for f in dataclasses.fields(Pass)} if name in PASSES else set()
    return dict(sorted(known.items(), key=lambda item: item[0] in common))
