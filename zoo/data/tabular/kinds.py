"""The type of a column of texts: numbers, texts or dates.

- Numbers have a decimal point. Columns of a file with another delimiter than a comma may have decimal commas.
- A number that begins with a zero, such as 00501, or that is whole and beyond 2**53, is a name: its column is of texts.
- Dates are years, months and days as in ISO 8601, with or without a time; or day/month/year and month/day/year, if the
  column has a day above 12. A time zone is changed to UTC.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zoo.console.errors import UsageError, short
from zoo.data.tabular.header import NUMBER

Kind = Literal["numbers", "texts", "times"]
# Values of a column of numbers that stand for a missing one, in lower case.
MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"))
TRUE, FALSE = ("true", "yes"), ("false", "no")
# A column is of numbers, with faults, if it has this number of them or more and this share of its values are.
LEAST, MOSTLY = 10, 0.9
# What `float` takes and reads as we do; it also takes 1_000, inf and nan.
_PLAIN = re.compile(r"[0-9eE+\-.\s]*")
_LEADING_ZERO = re.compile(r"(?m)^[+-]?0\d")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_AFFIXED = re.compile(r"[$€£]\s?[\d.,]+|[\d.,]+\s?[%€$£]")
_ISO = re.compile(r"\d{4}[-/]\d{1,2}([-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?)?")
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")
_SLASHED = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})((?:[T ]\d{1,2}:\d{2}(?::\d{2})?)?)")
# Whole numbers up to this one are exact in float64.
EXACT = 2**53


@dataclass(frozen=True)
class Typed:
    """A column with its type.

    Args:
        kind: Type of the values.
        values: float64 with NaN, objects with "", or datetime64 of microseconds with NaT for what is missing.
        told: What was assumed, as clauses that follow the name of the column.
        bad: Indices of values that are no numbers in a column of numbers.
    """

    kind: Kind
    values: np.ndarray
    told: tuple[str, ...] = ()
    bad: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def typed(texts: Sequence[str], commas: bool) -> Typed:
    """Return a column of texts with its type.

    Args:
        texts: Values without spaces around them.
        commas: Whether a number may have a decimal comma.
    """
    missing = np.fromiter((text.lower() in MISSING for text in texts), bool, len(texts))
    given = texts if not missing.any() else [text for text, absent in zip(texts, missing, strict=True) if not absent]
    if not len(given):  # nothing to tell a type by
        return Typed("numbers", np.full(len(texts), np.nan))
    numbers = _numbers(given)
    if numbers is not None:
        return Typed("numbers", _filled(numbers, missing))
    if commas and (numbers := _numbers_with_commas(given)) is not None:
        return Typed("numbers", _filled(numbers, missing), ("has decimal commas",))
    times, told = _times(given)
    if times is not None:
        values = np.full(len(texts), np.datetime64("NaT"), "datetime64[us]")
        values[~missing] = times
        return Typed("times", values, told)
    right = np.fromiter((NUMBER.fullmatch(text) is not None for text in given), bool, len(given))
    names = any(_LEADING_ZERO.match(text) for text in given)
    if not names and right.sum() >= LEAST and MOSTLY <= right.mean() < 1:
        values = np.full(len(texts), np.nan)
        places = np.flatnonzero(~missing)
        values[places[right]] = [float(text) for text, good in zip(given, right, strict=True) if good]
        return Typed("numbers", values, bad=places[~right])
    values = np.empty(len(texts), object)
    values[:] = texts
    return Typed("texts", values, (*told, *_odd(given, bool(right.any()))))


def _filled(numbers: np.ndarray, missing: np.ndarray) -> np.ndarray:
    values = np.full(len(missing), np.nan)
    values[~missing] = numbers
    return values


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    """Return texts as numbers, None unless all are."""
    joined = "\n".join(texts)
    if not _PLAIN.fullmatch(joined) or _LEADING_ZERO.search(joined):
        return None
    try:
        found = np.array([float(text) for text in texts])
    except ValueError:
        return None
    large = np.flatnonzero(np.abs(found) >= EXACT)
    if not np.isfinite(found).all() or any(texts[i].lstrip("+-").isdigit() for i in large):
        return None
    return found


def _numbers_with_commas(texts: Sequence[str]) -> np.ndarray | None:
    """Return texts with decimal commas as numbers, None unless all are; 1,234 alone could be a thousand."""
    with_comma = [text for text in texts if "," in text]
    if not all(map(_COMMA.fullmatch, with_comma)) or all(map(_THOUSANDS.fullmatch, with_comma)):
        return None
    return _numbers([text.replace(",", ".") for text in texts])


def _times(texts: Sequence[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return texts as dates and what was assumed; None unless all are dates."""
    if all(map(_ISO.fullmatch, texts)):
        try:
            found = [_moment(text) for text in texts]
        except ValueError:
            return None, ()
        told = ("has time zones, which were changed to UTC",) if any(map(_ZONE.search, texts)) else ()
        return np.array(found, "datetime64[us]"), told
    parts = [_SLASHED.fullmatch(text) for text in texts]
    if not all(parts):
        return None, ()
    first, second = (max(int(part[i]) for part in parts) for i in (1, 3))
    if first <= 12 and second <= 12:
        return None, (
            f"could be dates such as {texts[0]!r} whose day and month cannot be told apart, write 2024-12-31",
        )
    if first > 12 and second > 12:
        return None, ()
    day, month = (1, 3) if first > 12 else (3, 1)
    try:
        found = [_moment(f"{part[4]}-{part[month]}-{part[day]}{part[5]}") for part in parts]
    except ValueError:
        return None, ()
    return np.array(found, "datetime64[us]"), (f"is read as {'day/month' if first > 12 else 'month/day'}/year",)


def _moment(text: str) -> datetime.datetime:
    """Return a date, or a date and a time in UTC, without a time zone.

    Raises:
        ValueError: No such date.
    """
    date, _, time = text.replace("/", "-").replace("T", " ").partition(" ")
    year, month, day = [*map(int, date.split("-")), 1][:3]
    zone = _ZONE.search(time)
    clock = time[: zone.start()].strip() if zone else time
    hour, minute, second = [*(clock.replace(",", ".").split(":") if clock else ()), "0", "0", "0"][:3]
    whole, _, part = second.partition(".")
    found = datetime.datetime(year, month, day, int(hour), int(minute), int(whole), int(part.ljust(6, "0")[:6] or 0))
    if zone is None or zone[0] == "Z":
        return found
    digits = zone[0][1:].replace(":", "")
    away = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return found - away if zone[0][0] == "+" else found + away


def _odd(texts: Sequence[str], some_numbers: bool) -> tuple[str, ...]:
    """Return clauses about texts that may have been meant as numbers."""
    found = [
        (
            "has numbers with commas",
            next(filter(lambda t: _COMMA.fullmatch(t) or _THOUSANDS.fullmatch(t), texts), None),
        ),
        ("has numbers with signs", next(filter(_AFFIXED.fullmatch, texts), None)),
        ("has values in quotation marks", next((t for t in texts if t[:1] == t[-1:] == '"' and len(t) > 1), None)),
    ]
    told = [f"is of texts: it {what} such as {short(text)}" for what, text in found if text is not None][:1]
    if not told and some_numbers:
        named = next((text for text in texts if _LEADING_ZERO.match(text)), None)
        other = next((text for text in texts if not NUMBER.fullmatch(text)), None)
        if named or other:
            told = [f"is of texts: it has values such as {short(named or other)} beside numbers"]
        else:
            told = ["is of texts: it has whole numbers that float64 does not hold"]
    return tuple(told)


def as_numbers(where: str, texts: np.ndarray) -> np.ndarray:
    """Return a column of texts that mean yes or no as 1 and 0, NaN where one is missing.

    Args:
        where: Table and column, for the message.
        texts: Values.

    Raises:
        UsageError: Other texts.
    """
    found = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        plain = str(text).lower()
        if plain in TRUE or plain in FALSE:
            found[i] = plain in TRUE
        elif plain not in MISSING:
            raise UsageError(f"{where}: expected numbers, received {short(str(text))}")
    return found


def as_texts(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as texts, whole ones without a point and missing ones as ""."""
    found = np.empty(len(numbers), object)
    found[:] = ["" if np.isnan(n) else f"{n:.0f}" if n == np.round(n) else repr(float(n)) for n in numbers]
    return found
