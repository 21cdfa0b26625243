"""The type of a column of texts: numbers, texts or dates.

- Numbers have a decimal point. Columns of a file with another delimiter than a comma may have decimal commas.
- A number that begins with a zero, such as 00501, or that is whole and beyond 2**53, is a name: its column is of texts.
- Dates are years, months and days as in ISO 8601, with or without a time; or day/month/year and month/day/year, if the
  column has a day above 12. A time zone is changed to UTC.
"""

import datetime
import re
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np

from zoo.console.errors import UsageError, short
from zoo.data.tabular.header import NUMBER

Kind = Literal["numbers", "texts", "times"]
# How the values of a column are written. Mostly: numbers, and a few other values.
Form = Literal["numbers", "commas", "mostly", "dates", "day first", "month first", "texts"]
KINDS: dict[Form, Kind] = {
    "numbers": "numbers",
    "commas": "numbers",
    "mostly": "numbers",
    "dates": "times",
    "day first": "times",
    "month first": "times",
    "texts": "texts",
}
WORDS: dict[Kind, str] = {"numbers": "numbers", "texts": "texts", "times": "dates"}
# Values of a column of numbers that stand for a missing one, in lower case.
MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"))
TRUE, FALSE = ("true", "yes"), ("false", "no")
# A column is of numbers, with faults, if it has this number of them or more and this share of its values are.
LEAST, MOSTLY = 10, 0.9
# What `float` takes and reads as we do; it also takes 1_000, inf and nan.
_PLAIN = re.compile(r"[0-9eE+\-.\s]*")
_LEADING_ZERO = re.compile(r"(?m)^[+-]?0\d")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_BOTH_MARKS = re.compile(r"[+-]?\d{1,3}((\.\d{3})+,\d+|(,\d{3})+\.\d+)")
# Whole numbers with points between thousands, or numbers with three decimals.
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_AFFIXED = re.compile(r"[$€£]\s?[\d.,]+|[\d.,]+\s?[%€$£]")
_ISO = re.compile(r"\d{4}[-/]\d{1,2}([-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?)?")
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")
_SLASHED = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})((?:[T ]\d{1,2}:\d{2}(?::\d{2})?)?)")
# Dates with two digits for the year or with AM and PM, which are not read.
_OTHER_DATE = re.compile(
    r"\d{1,2}([/.-])\d{1,2}\1(\d{2}|\d{4}(?=.*M$))(\s\d{1,2}:\d{2}(:\d{2})?(\s?[AP]M)?)?", re.IGNORECASE
)
MONTHS = 12
# What may have been meant as a number, and what is beside numbers, by what is said of it.
_ODD: dict[str, Callable[[str], Any]] = {
    "has dates that are not read,": _OTHER_DATE.fullmatch,
    "has numbers with commas": lambda text: _COMMA.fullmatch(text) or _THOUSANDS.fullmatch(text),
    "has numbers with signs": _AFFIXED.fullmatch,
    "has values in quotation marks": lambda text: len(text) > 1 and text[0] == text[-1] == '"',
    "begins with a zero": _LEADING_ZERO.match,
    "is no number": lambda text: not NUMBER.fullmatch(text),
}
# Whole numbers up to this one are exact in float64.
EXACT = 2**53


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


def values_of(texts: Sequence[str], form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of texts in the form of their column, and the places of those that are no numbers.

    Args:
        texts: Values without spaces around them.
        form: What `Evidence` shows of the whole column.
    """
    bad = np.zeros(0, np.int64)
    if form == "texts":
        values = np.empty(len(texts), object)
        values[:] = texts
        return values, bad
    missing = np.fromiter((text.lower() in MISSING for text in texts), bool, len(texts))
    places = np.flatnonzero(~missing)
    given = [texts[place] for place in places]
    if KINDS[form] == "times":
        values = np.full(len(texts), np.datetime64("NaT"), "datetime64[us]")
        values[places] = np.array([_moment(_ordered(text, form)) for text in given], "datetime64[us]")
        return values, bad
    if form == "mostly":
        right = np.fromiter((NUMBER.fullmatch(text) is not None for text in given), bool, len(given))
        given = [text for text, good in zip(given, right, strict=True) if good]
        places, bad = places[right], places[~right]
    values = np.full(len(texts), np.nan)
    values[places] = [float(text.replace(",", ".") if form == "commas" else text) for text in given]
    return values, bad


def _ordered(text: str, form: Form) -> str:
    """Return a date whose year comes first."""
    if form == "dates":
        return text
    part = _SLASHED.fullmatch(text)
    day, month = (1, 3) if form == "day first" else (3, 1)
    return f"{part[4]}-{part[month]}-{part[day]}{part[5]}"


def _are_dates(texts: Sequence[str], form: Form) -> bool:
    try:
        for text in texts:
            _moment(_ordered(text, form))
    except ValueError:
        return False
    return True


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
            both = next((other for other in texts if _BOTH_MARKS.fullmatch(other)), None)
            cure = "; write numbers without marks between thousands" if both else ""
            raise UsageError(f"{where}: expected numbers, received {short(both or str(text))}{cure}")
    return found


def as_texts(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as texts, whole ones without a point and missing ones as ""."""
    found = np.empty(len(numbers), object)
    missing, whole = np.isnan(numbers), numbers == np.round(numbers)
    found[missing] = ""
    found[whole] = [f"{number:.0f}" for number in numbers[whole].tolist()]
    rest = ~missing & ~whole
    found[rest] = list(map(repr, numbers[rest].tolist()))
    return found


class Evidence:
    """What the values of a column show of its type. They may be added in pieces, with the same result.

    Args:
        commas: Whether a number may have a decimal comma.
    """

    def __init__(self, commas: bool):
        self._first = ""
        self._count = self._right = 0
        self._fails = {form: form == "commas" and not commas for form in KINDS}  # a form that some value does not have
        self._slashed, self._largest = True, [0, 0]  # dates with the year at the end, and the largest of both parts
        self._zoned = self._unzoned = self._no_thousands = self._zero = False
        self._odd: dict[str, str] = {}  # first value of each kind that may have been meant as a number

    @property
    def right(self) -> int:
        """Number of values that are numbers."""
        return self._right

    @property
    def no_number(self) -> str | None:
        """First value that is no number, None if there is none."""
        return self._odd.get("is no number")

    def add(self, texts: Sequence[str], counts: Sequence[int] | None = None) -> None:
        """Add values without spaces around them.

        Args:
            texts: Values.
            counts: How often each occurs; None for once.
        """
        if counts is None:
            counts = [1] * len(texts)
        present = [text.lower() not in MISSING for text in texts]
        given, counts = list(compress(texts, present)), list(compress(counts, present))
        if not given:
            return
        if _numbers(given) is not None:
            self.add_numbers(given[0], sum(counts))
            return
        self._first = self._first or given[0]
        self._count += sum(counts)
        self._fails["numbers"] = True
        self._right += sum(count for text, count in zip(given, counts, strict=True) if NUMBER.fullmatch(text))
        self._zero |= any(map(_LEADING_ZERO.match, given))
        self._add_odd(given)
        self._add_commas(given)
        self._add_dates(given)

    def add_numbers(self, first: str, count: int) -> None:
        """Add numbers, none of which is missing.

        Args:
            first: Text of the first.
            count: How many there are.
        """
        self._first = self._first or first
        self._count += count
        self._right += count
        self._fails["dates"], self._slashed = True, False  # no number is a date

    def _add_commas(self, given: Sequence[str]) -> None:
        if self._fails["commas"]:
            return
        with_comma = [text for text in given if "," in text]
        replaced = [text.replace(",", ".") for text in given]
        self._fails["commas"] = not all(map(_COMMA.fullmatch, with_comma)) or _numbers(replaced) is None
        self._no_thousands |= not all(map(_THOUSANDS.fullmatch, with_comma))  # 1,234 alone could be a thousand

    def _add_dates(self, given: Sequence[str]) -> None:
        if not self._fails["dates"]:
            self._fails["dates"] = not all(map(_ISO.fullmatch, given)) or not _are_dates(given, "dates")
            if not self._fails["dates"]:
                zoned = [_ZONE.search(text) is not None for text in given if ":" in text]
                self._zoned, self._unzoned = self._zoned or any(zoned), self._unzoned or not all(zoned)
        if not self._slashed:
            return
        parts = [_SLASHED.fullmatch(text) for text in given]
        self._slashed = all(parts)
        if self._slashed:
            self._largest = [max(self._largest[i], *(int(part[2 * i + 1]) for part in parts)) for i in (0, 1)]
            for form in ("day first", "month first"):
                self._fails[form] = self._fails[form] or not _are_dates(given, form)

    def _add_odd(self, given: Sequence[str]) -> None:
        for what, fits in _ODD.items():
            if what not in self._odd and (found := next(filter(fits, given), None)) is not None:
                self._odd[what] = found

    def verdict(self, like: Form | None = None) -> tuple[Form, tuple[str, ...]]:
        """Return the form of the values, and what was assumed as clauses that follow the name of the column.

        Args:
            like: Form of the column in the table that a model learns from. Texts stay texts, and what these values
                alone do not show, such as the order of day and month, is taken from it.
        """
        found, told = self._alone()
        if like is None:
            return found, told
        if like == "texts" or not self._count:
            return like, ()
        if found == like:
            return found, () if found in ("day first", "month first") else told
        return (like, ()) if KINDS[found] != KINDS[like] and self._may_be(like) else (found, told)

    def _may_be(self, form: Form) -> bool:
        """Return whether all values are written in a form, though they alone do not show it."""
        return not self._fails[form] and (self._slashed if form in ("day first", "month first") else form == "commas")

    def _alone(self) -> tuple[Form, tuple[str, ...]]:
        fails = self._fails
        if not self._count or not fails["numbers"]:
            return "numbers", ()
        if not fails["commas"] and self._no_thousands:
            return "commas", ("has decimal commas",)
        if not fails["dates"]:
            rest = "; values without one count as UTC" if self._unzoned else ""
            return "dates", (f"has time zones, which were changed to UTC{rest}",) if self._zoned else ()
        told, late = (), [largest > MONTHS for largest in self._largest]
        if self._slashed and not any(late):
            told = (
                f"could be dates such as {self._first!r} whose day and month cannot be told apart, write 2024-12-31",
            )
        if self._slashed and sum(late) == 1 and not fails[form := "day first" if late[0] else "month first"]:
            return form, (f"is read as {'day/month' if late[0] else 'month/day'}/year",)
        if not self._zero and self._right >= LEAST and MOSTLY <= self._right / self._count < 1:
            return "mostly", ()
        return "texts", (*told, *self._told_odd())

    def stored_as_texts(self) -> tuple[str, ...]:
        """Return a clause about numbers or dates in a column that a file stores as texts."""
        found = self._alone()[0]
        if not self._count or found in ("texts", "mostly"):
            return ()
        return (f"has {WORDS[KINDS[found]]} such as {short(self._first)} stored as texts, and is of texts",)

    def _told_odd(self) -> tuple[str, ...]:
        """Return a clause about texts that may have been meant as numbers."""
        for what in list(_ODD)[:4]:
            if what in self._odd:
                return (f"is of texts: it {what} such as {short(self._odd[what])}",)
        if not self._right:
            return ()
        named = self._odd.get("begins with a zero") or self._odd.get("is no number")
        if named:
            return (f"is of texts: it has values such as {short(named)} beside numbers",)
        return ("is of texts: it has numbers that float64 does not hold",)
