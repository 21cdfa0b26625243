"""Parser from text to typed values, shared by command-line options and `--set name=value`."""

import math
import os
import re
import types
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from zoo.console.errors import SHOWN, UsageError, nearest, short

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([a-z]*)", re.IGNORECASE)
_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BYTES = _THOUSANDS | {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_HERTZ = {"": 1, "hz": 1, "khz": 10**3, "mhz": 10**6, "ghz": 10**9}
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def _amount(text: object, units: Mapping[str, int]) -> Decimal:
    """Return the value of a number that may be followed by a unit.

    Raises:
        ValueError: If the text is not a number, or its unit is unknown.
    """
    match = _AMOUNT.fullmatch(str(text).strip())
    if match is None or match[2].lower() not in units:
        raise ValueError(text)
    return Decimal(match[1]) * units[match[2].lower()]


class Count(int):
    """Count that accepts the suffixes k, M and G: 50k, 1.2M, 3G.

    Raises:
        ValueError: If the text is not a number, or its suffix is unknown.
    """

    def __new__(cls, text: str | int) -> "Count":
        return super().__new__(cls, _amount(text, _THOUSANDS))


class Bytes(int):
    """Number of bytes that accepts decimal and binary units: 20k and 20kB are 20,000, 20KiB is 20,480.

    Raises:
        ValueError: If the text is not a number, or its unit is unknown.
    """

    def __new__(cls, text: str | int) -> "Bytes":
        return super().__new__(cls, _amount(text, _BYTES))


class Seconds(float):
    """Duration in seconds that accepts the units s, m, min and h: 90s, 30m, 2h.

    Raises:
        ValueError: If the text is not a number, or its unit is unknown.
    """

    def __new__(cls, text: str | float) -> "Seconds":
        return super().__new__(cls, _amount(text, _SECONDS))


class Hertz(float):
    """Frequency that accepts the units Hz, kHz, MHz and GHz: 80MHz, 1.2GHz.

    Raises:
        ValueError: If the text is not a number above 0, or its unit is unknown.
    """

    def __new__(cls, text: str | float) -> "Hertz":
        if not (value := _amount(text, _HERTZ)):
            raise ValueError(text)
        return super().__new__(cls, value)


# Numbers beyond these limits have no room in an array; a seed or a size is never larger.
INTEGERS = (-(2**63), 2**63 - 1)


def is_optional(annotation: Any) -> bool:
    """Return whether the annotation is `T | None`."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def without_none(annotation: Any) -> Any:
    """Return `T` for `T | None`, and any other annotation unchanged."""
    return next(a for a in get_args(annotation) if a is not type(None)) if is_optional(annotation) else annotation


def describe(annotation: Any, several: str = "comma-separated values") -> str:
    """Return a description of what an annotation accepts, for error messages.

    Args:
        annotation: One of those that `accept` takes.
        several: Form of several values.
    """
    annotation = without_none(annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is tuple:
        return f"{several}, each {describe(get_args(annotation)[0])}"
    if get_origin(annotation) is Mapping:
        return "values by name"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "a path", list: "a list"}
    names |= {
        Count: "a number such as 50000, 50k, 1.2M or 3G",
        Bytes: "a number of bytes such as 20000, 20k, 20KiB or 1.5M",
        Seconds: "a time such as 90s, 30m or 2h",
        Hertz: "a frequency above 0 such as 80MHz or 1.2GHz",
    }
    return names[annotation]


def parse(name: str, text: str, annotation: Any) -> Any:
    """Parse `text` as a value of `annotation`.

    Args:
        name: Argument as the user typed it, for the error message.
        text: Value as the user typed it.
        annotation: One of int, float, bool, str, Path, Count, Bytes, Seconds, Hertz, Literal[...], tuple[T, ...],
            or any of these `| None`.

    Raises:
        UsageError: If the text is not a value of the annotation.
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
        return _within(annotation(text))
    except (ValueError, KeyError, OverflowError) as error:
        if isinstance(error, UsageError):
            raise
        raise _refusal(name, text, annotation, error, "comma-separated values") from None


def accept(name: str, value: Any, annotation: Any) -> Any:
    """Return a value given in Python, or read from JSON, in the form that `parse` gives it.

    A list becomes a tuple, a single value a tuple of one, and a text a path or a number with a unit. Arrays and numbers
    of NumPy become those of Python.

    Args:
        name: Argument as the user wrote it, for the error message.
        value: Value that the user gave.
        annotation: One of those that `parse` takes, list, or Mapping[str, Any].

    Raises:
        UsageError: If it is not a value of the annotation.
    """
    try:
        return _accepted(value, annotation)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _refusal(name, value, annotation, error, "a list of values") from None


def _accepted(value: Any, annotation: Any) -> Any:
    """Return what `accept` does; ValueError, KeyError, TypeError or OverflowError if the value is refused."""
    if value is None and is_optional(annotation):
        return None
    annotation = without_none(annotation)
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        return {(type(choice), choice): choice for choice in get_args(annotation)}[type(value), value]  # True is not 1
    if origin is tuple:
        parts = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_accepted(part, get_args(annotation)[0]) for part in parts)
    kinds = {int: int, float: (int, float), bool: bool, Path: (str, os.PathLike), list: (list, tuple)}
    units = issubclass(origin, (Count, Bytes, Seconds, Hertz))
    kind = (str, int, float) if units else kinds.get(origin, origin)
    if not isinstance(value, kind) or (isinstance(value, bool) and origin is not bool):
        raise TypeError(value)
    return _within(origin(value) if units or origin is Path else value)


def _refusal(name: str, value: Any, annotation: Any, error: Exception, several: str) -> UsageError:
    """Return the error for a value that is none of an annotation."""
    annotation = without_none(annotation)
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    hint = nearest(value, map(str, choices)) if isinstance(value, str) and len(value) <= SHOWN else ""
    limit = " that is finite and has at most 64 bits" if isinstance(error, OverflowError) else ""
    return UsageError(f"{name}: expected {describe(annotation, several)}{limit}, received {short(value)}{hint}")


def _within(value: Any) -> Any:
    """Return a value, unless it is a number that a computer does not represent: NaN, infinite or beyond 64 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        raise OverflowError(value)
    if isinstance(value, int) and not INTEGERS[0] <= value <= INTEGERS[1]:
        raise OverflowError(value)
    return value
