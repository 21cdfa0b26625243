"""Recipes: words joined by `+`, such as `int8(skip=head)`, and what each word means. Standard library only."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from zoo.errors import UsageError, nearest, unknown
from zoo.values import parse as parse_value

Ends = Literal["integer", "float32"]
# How recurrent layers are exported; auto is loop, and unrolled where a recipe calibrates.
Kernel = Literal["auto", "loop", "unrolled", "fused"]


def float32() -> None:
    """Weights and arithmetic as they were trained."""


def float16() -> None:
    """Weights stored in float16, arithmetic in float32 (or float16 on a GPU)."""


def dynamic(skip: tuple[str, ...] = ()) -> None:
    """Weights in int8, one scale a channel; activations are quantized while the file runs. No calibration."""


def int8(skip: tuple[str, ...] = (), io: Ends = "integer") -> None:
    """Weights, activations and arithmetic in int8, with ranges from calibration; integer inputs and outputs."""


def int16x8(io: Ends = "integer") -> None:
    """Activations in int16, weights in int8, with ranges from calibration: more precise than int8, and slower."""


def int4(skip: tuple[str, ...] = ()) -> None:
    """Weights in int4, one scale a channel; activations are quantized while the file runs. No calibration."""


# What a file's weights and arithmetic are stored and done in. Every recipe has exactly one of them, the last word.
PRECISIONS: dict[str, Callable] = {f.__name__: f for f in (float32, float16, dynamic, int8, int16x8, int4)}
CALIBRATED = ("int8", "int16x8")
# Words of training passes, named so that asking for one gets an answer.
NOT_YET = ("prune", "channels", "cluster", "qat", "distill")

_WORD = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Args:
        precision: a key of PRECISIONS.
        skip: patterns of the layers that stay in float32.
        io: of an integer recipe: whether its inputs and outputs are integers too.
    """

    precision: str
    skip: tuple[str, ...] = ()
    io: Ends = "integer"

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

    def __str__(self) -> str:
        given = [f"skip={'|'.join(self.skip)}"] if self.skip else []
        given += [f"io={self.io}"] if self.io != "integer" else []
        return f"{self.precision}({', '.join(given)})" if given else self.precision

    @property
    def file_name(self) -> str:
        """A name for the file, safe on every file system."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", str(self)).strip("-")


def parse(text: str) -> Recipe:
    """Parse a recipe.

    Args:
        text: `word + word(argument, name=value)`; several values of one argument are separated by `|`.

    Raises:
        UsageError: a word or an argument that does not exist, a value of another type, or words that cannot be
            combined.
    """
    words = [_word(part) for part in text.split("+")]
    if len(words) > 1:
        raise UsageError(
            f"--recipe {text!r}: expected one precision, received {len(words)}: {', '.join(w for w, _ in words)}"
        )
    ((name, arguments),) = words
    return Recipe(name, **arguments)


def _word(text: str) -> tuple[str, dict[str, Any]]:
    match = _WORD.fullmatch(text)
    if match is None:
        raise UsageError(f"--recipe: expected words such as int8 or int8(skip=head) joined by +, received {text!r}")
    name, inside = match[1], match[2]
    if name in NOT_YET:
        raise UsageError(
            f"--recipe: {name!r} is not part of this version; this version has the precisions {', '.join(PRECISIONS)}"
        )
    if name not in PRECISIONS:
        raise unknown("recipe word", name, PRECISIONS)
    return name, _arguments(name, inside or "")


def _arguments(name: str, inside: str) -> dict[str, Any]:
    known = inspect.signature(PRECISIONS[name]).parameters
    found: dict[str, Any] = {}
    for position, part in enumerate(filter(None, map(str.strip, inside.split(",")))):
        key, equals, value = map(str.strip, part.partition("="))
        if not equals:
            if position >= len(known):
                raise UsageError(f"--recipe {name}: expected at most {len(known)} arguments, received {part!r} besides")
            key, value = list(known)[position], key
        if key not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(
                f"--recipe {name}: no argument {key!r}: expected one of {listed}{nearest(key, known)}"
                if known
                else f"--recipe {name}: takes no arguments, received {part!r}"
            )
        if key in found:
            raise UsageError(f"--recipe {name}: {key} is given twice")
        found[key] = parse_value(f"--recipe {name}({key})", value.replace("|", ","), known[key].annotation)
    return found
