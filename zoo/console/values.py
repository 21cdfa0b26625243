"""Text to typed values: one parser for command-line options and for `--set name=value`."""

import re
import types
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from zoo.console.errors import UsageError, nearest

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([a-z]*)", re.IGNORECASE)
_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BYTES = _THOUSANDS | {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def _amount(text: object, units: Mapping[str, int]) -> Decimal:
    """Return a number with one of some units behind it.

    Raises:
        ValueError: a text that is no such number.
    """
    match = _AMOUNT.fullmatch(str(text).strip())
    if match is None or match[2].lower() not in units:
        raise ValueError(text)
    return Decimal(match[1]) * units[match[2].lower()]


class Count(int):
    """A number of things, which may be typed as 50k, 1.2M or 3G: thousands, millions or billions.

    Raises:
        ValueError: a text that is no such number.
    """

    def __new__(cls, text: str | int) -> "Count":
        return super().__new__(cls, _amount(text, _THOUSANDS))


class Bytes(int):
    """A number of bytes, which may be typed as 20k or 20kB, 20,000, or 20KiB, 20,480.

    Raises:
        ValueError: a text that is no such number.
    """

    def __new__(cls, text: str | int) -> "Bytes":
        return super().__new__(cls, _amount(text, _BYTES))


class Seconds(float):
    """A time in seconds, which may be typed as 90s, 30m or 2h.

    Raises:
        ValueError: a text that is no such time.
    """

    def __new__(cls, text: str | float) -> "Seconds":
        return super().__new__(cls, _amount(text, _SECONDS))


def is_optional(annotation: Any) -> bool:
    """Whether the annotation is `T | None`."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def without_none(annotation: Any) -> Any:
    """Return T for `T | None`, and any other annotation as it is."""
    return next(a for a in get_args(annotation) if a is not type(None)) if is_optional(annotation) else annotation


def describe(annotation: Any) -> str:
    """Return what a person should type for this annotation."""
    annotation = without_none(annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is tuple:
        return f"comma-separated values, each {describe(get_args(annotation)[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
    names |= {
        Count: "a number such as 50000, 50k, 1.2M or 3G",
        Bytes: "a number of bytes such as 20000, 20k, 20KiB or 1.5M",
        Seconds: "a time such as 90s, 30m or 2h",
    }
    return names[annotation]


def parse(name: str, text: str, annotation: Any) -> Any:
    """Parse `text` as a value of `annotation`.

    Args:
        name: the argument as the user typed it, for the message.
        text: what the user typed after it.
        annotation: int, float, bool, str, Path, Count, Bytes, Seconds, Literal[...], tuple[T, ...], or any of these
            `| None`.

    Raises:
        UsageError: the text is not such a value.
    """
    if is_optional(annotation) and text.lower() == "none":
        return None
    annotation = without_none(annotation)
    try:
        if get_origin(annotation) is Literal:
            return {str(choice): choice for choice in get_args(annotation)}[text]
        if get_origin(annotation) is tuple:
            item = get_args(annotation)[0]
            inside = text.strip()
            if inside[:1] in ("(", "[") and inside[-1:] in (")", "]"):
                inside = inside[1:-1]
            return tuple(parse(name, part.strip(), item) for part in inside.split(",") if part.strip())
        if annotation is bool:
            return _WORDS[text.lower()]
        return annotation(text)
    except (ValueError, KeyError) as error:
        if isinstance(error, UsageError):
            raise
        choices = get_args(annotation) if get_origin(annotation) is Literal else ()
        raise UsageError(
            f"{name}: expected {describe(annotation)}, received {text!r}{nearest(text, map(str, choices))}"
        ) from None
