"""Numbers of a user, checked before they are cast to the types that models take."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data.reading import Tally
from zoo.data.tabular.header import NUMBER
from zoo.data.tabular.kinds import MISSING

# Most token ids and most classes that are not named: a model has a row of weights for each.
MOST_TOKENS = 10_000_000
MOST_CLASSES = 1_000_000
# Range of a column, in steps of float32, below which its numbers are counted; and share of its largest number below
# which a range is that of rounding.
FEW_STEPS, NOISE = 256, 1e-9


def as_int32(name: str, values: np.ndarray) -> np.ndarray:
    """Return whole numbers as int32.

    Args:
        name: Name of the data, for the message.
        values: Labels or token ids (examples, ...), of any type of numbers.

    Raises:
        UsageError: Something that is no number, a number that int32 cannot hold, or one that is not whole.
    """
    if values.dtype.kind not in "biuf":
        raise UsageError(f"{name}: expected whole numbers, received {values.dtype}")
    limits = np.iinfo(np.int32)
    if values.dtype.kind in "biu":
        bad = (values < limits.min) | (values > limits.max) if values.dtype.itemsize >= 4 else None
    else:
        bad = ~((values >= limits.min) & (values <= limits.max) & (values == np.rint(values)))  # also true for NaN
    if bad is not None and bad.any():
        raise UsageError(f"{name}: expected whole numbers within int32, received {_first(values, bad)}")
    return values.astype(np.int32)


def as_float32(name: str, values: np.ndarray) -> np.ndarray:
    """Return numbers as float32.

    Args:
        name: Name of the data, for the message.
        values: Numbers (examples, ...), of any type.

    Raises:
        UsageError: Something that is no number, NaN, infinity, or a number that float32 cannot hold.
    """
    if values.dtype.kind not in "biuf":
        raise UsageError(f"{name}: expected numbers, received {values.dtype}")
    check_finite(name, values)
    if values.dtype.kind == "f" and values.dtype.itemsize > 4:
        bad = np.abs(values) > np.finfo(np.float32).max
        if bad.any():
            raise UsageError(f"{name}: expected numbers within float32, received {_first(values, bad)}")
    return values.astype(np.float32)


def check_apart(name: str, values: np.ndarray) -> None:
    """Raise UsageError for a column of numbers that float32 cannot hold, or of which it makes half as many or fewer.

    Args:
        name: Name of the data, for the message.
        values: Finite numbers (examples,) or (examples, ..., columns).
    """
    if values.dtype.kind not in "iuf" or values.dtype.itemsize < 4 or values.dtype == np.float32 or not values.size:
        return
    columns = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    low, high = (end.astype(np.float64) for end in (columns.min(0), columns.max(0)))
    largest, width = np.maximum(np.abs(low), np.abs(high)), high - low
    if (beyond := largest > np.finfo(np.float32).max).any():
        raise UsageError(f"{name}: expected numbers within float32, received {largest[beyond][0]:.12g}")
    few_steps = width < FEW_STEPS * np.spacing(largest.astype(np.float32))
    for column in np.flatnonzero(few_steps & (width > NOISE * largest)):
        different, kept = _told_apart(columns[:, column])
        if 2 * kept <= different:
            where = f" in column {column}" if values.ndim > 1 else ""
            raise UsageError(
                f"{name}: expected numbers that float32 tells apart, received {different:,} different ones from"
                f" {low[column]:.12g} to {high[column]:.12g}{where}, of which it keeps {kept:,}; subtract their mean"
            )


def tells_apart(values: np.ndarray) -> bool:
    """Return whether float32 keeps more than half of the different numbers of a column.

    Args:
        values: Finite numbers within float32, (examples,) float64.
    """
    if len(values) < 2 or np.ptp(values) <= NOISE * np.abs(values).max():
        return True
    different, kept = _told_apart(values)
    return 2 * kept > different


def _told_apart(values: np.ndarray) -> tuple[int, int]:
    """Return how many different numbers there are, and how many of them are different as float32."""
    found = np.unique(values)
    return len(found), len(np.unique(found.astype(np.float32)))


def as_pixels(name: str, pictures: Mapping[str, np.ndarray], tally: Tally) -> dict[str, np.ndarray]:
    """Return the pixels of pictures as uint8, or as float32 if they are floats.

    A network is given the pixels of files from 0 to 1, so whole numbers have to be bytes.

    Args:
        name: Name of the data, for messages.
        pictures: Pixels of each split by the name of its array, (examples, height, width, channels).
        tally: Takes what was changed and assumed.

    Raises:
        UsageError: Whole numbers that are no bytes, or bytes beside floats.
    """
    floats = [array for array, x in pictures.items() if x.dtype.kind == "f"]
    if floats and len(floats) < len(pictures):
        types = ", ".join(f"{array} {x.dtype}" for array, x in pictures.items())
        raise UsageError(f"{name}: expected pictures of one type in all splits, received {types}; store all as uint8")
    channels = next(iter(pictures.values())).shape[-1]
    if channels not in (1, 3):
        height, width = next(iter(pictures.values())).shape[1:3]
        tally.notes.append(f"its pictures are {height} high, {width} wide and have {channels} channels")
    if floats:
        _tell_range(pictures, tally)
        return {array: as_float32(f"{name}: {array}", x) for array, x in pictures.items()}
    found = {array: _as_bytes(f"{name}: {array}", x, tally) for array, x in pictures.items()}
    if max(int(x.max(initial=0)) for x in found.values()) == 1:
        raise UsageError(
            f"{name}: expected pixels from 0 to 255, received only 0 and 1, so that all would be"
            " black; store them as booleans, or features as floats"
        )
    return found


def _as_bytes(name: str, x: np.ndarray, tally: Tally) -> np.ndarray:
    if x.dtype.kind == "b":
        tally.changed["pictures of booleans with 255 for true"] += len(x)
        return x.astype(np.uint8) * np.uint8(255)
    bad = (x < 0) | (x > 255) if x.dtype != np.uint8 else None
    if bad is not None and bad.any():
        raise UsageError(f"{name}: expected pixels from 0 to 255, received {_first(x, bad)}; store features as floats")
    return x.astype(np.uint8)


def _tell_range(pictures: Mapping[str, np.ndarray], tally: Tally) -> None:
    """Tell of floating-point pictures that do not lie in [0, 1]."""
    ends = _ends(pictures)
    if any(low < 0 or high > 1 for low, high in ends.values()):
        tally.notes.append(
            f"its floating-point pictures are used as they are, {_told(ends)}; the pixels of picture files become 0 to"
            " 1"
        )


def check_scaled(name: str, pictures: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError for floating-point pictures that seem to hold bytes: from 0 to 255, whole or with 128 and more.

    Args:
        name: Name of the data, for the message.
        pictures: Pixels of each split, (examples, height, width, channels) float32.
    """
    ends = _ends(pictures)
    low, high = min((low for low, _ in ends.values()), default=0), max((high for _, high in ends.values()), default=0)
    if low >= 0 and 1 < high <= 255 and (high >= 128 or all((x == np.rint(x)).all() for x in pictures.values())):
        raise UsageError(
            f"{name}: expected floating-point pictures from 0 to 1, received {_told(ends)}; store pixels from 0 to 255"
            " as uint8, or divide by 255"
        )


def _ends(pictures: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    return {name: (float(x.min()), float(x.max())) for name, x in pictures.items() if x.size}


def _told(ends: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} from {low:.4g} to {high:.4g}" for name, (low, high) in ends.items())


def _first(values: np.ndarray, bad: np.ndarray) -> str:
    """Return the first bad number and its example."""
    place = int(np.argmax(bad))
    example = f" in example {np.unravel_index(place, values.shape)[0]:,}" if values.ndim else ""
    return f"{values.reshape(-1)[place]}{example}"


def check_labels(name: str, y: np.ndarray, class_names: Sequence[str]) -> None:
    """Raise UsageError unless every label is an index into `class_names`.

    Args:
        name: Name of the data, for the message.
        y: Labels.
        class_names: Class names.
    """
    if not y.size:
        return
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= len(class_names):
        bad = (y < 0) | (y >= len(class_names))
        raise UsageError(
            f"{name}: labels out of range: expected 0 to {len(class_names) - 1} for {len(class_names)} classes,"
            f" received {low} to {high}, the first in example {int(np.argwhere(bad)[0][0]):,}"
        )


def numbered_classes(name: str, labels: Sequence[np.ndarray], asked: int | None = None) -> tuple[str, ...]:
    """Return names for classes that have none: their numbers.

    Args:
        name: Name of the data, for the message.
        labels: Labels of each split.
        asked: Number of classes that the user asked for, None for that of the labels.

    Raises:
        UsageError: More classes than there are labels, so that some have no example.
    """
    count = 1 + max((int(y.max(initial=0)) for y in labels), default=0)
    if asked is not None:
        count = min(count, asked)
    elif count > max(sum(y.size for y in labels), 2):
        raise UsageError(
            f"{name}: class {count - 1} is more than the {sum(y.size for y in labels):,} labels can fill: expected"
            f" training examples of every class from 0 to {count - 1}; number the classes without gaps"
        )
    return tuple(map(str, range(count)))


def check_tokens(name: str, x: np.ndarray, size: int = MOST_TOKENS) -> None:
    """Raise UsageError unless every number is a token id.

    Args:
        name: Name of the data, for the message.
        x: Ids (examples, time).
        size: Number of token ids.
    """
    bad = (x < 0) | (x >= size)
    if bad.any():
        raise UsageError(f"{name}: expected token ids from 0 to {size - 1:,}, received {_first(x, bad)}")


def check_finite(name: str, x: np.ndarray) -> None:
    """Raise UsageError, naming the first bad example, if an array of floats contains NaN or infinity.

    Args:
        name: Name of the data, for the message.
        x: Examples (examples, ...).
    """
    if not np.issubdtype(x.dtype, np.floating):
        return
    bad = ~np.isfinite(x)
    if bad.any():
        first = int(np.argwhere(np.atleast_1d(bad))[0][0])
        raise UsageError(
            f"{name}: expected finite numbers, received {int(bad.sum())} NaN or infinite value(s),"
            f" the first in example {first}"
        )


def plain_names(names: Sequence[str], what: str, tally: Tally) -> list[str]:
    """Return names of classes without spaces around them and in Unicode's composed form (NFC).

    Args:
        names: Name of the class of each example.
        what: What the names are, for the line on what was read.
        tally: Takes the number of names that were changed.
    """
    stripped = [name.strip() for name in names]
    tally.changed[f"{what} without the spaces around them"] += sum(a != b for a, b in zip(names, stripped, strict=True))
    composed = [unicodedata.normalize("NFC", name) for name in stripped]
    tally.changed[f"{what} in Unicode's composed form"] += sum(a != b for a, b in zip(stripped, composed, strict=True))
    return composed


def tell_odd_names(class_names: Sequence[str], tally: Tally) -> None:
    """Note names of classes that may be one class, and those that may stand for a missing label.

    Args:
        class_names: Names of the classes.
        tally: Takes the notes.
    """
    for what, key in (
        ("differ only in upper and lower case", str.casefold),
        ("are the same number", lambda name: float(name) if NUMBER.fullmatch(name) else name),
    ):
        first, *_ = Counter(map(key, class_names)).most_common(1) or [("", 0)]
        if first[1] > 1:
            same = [repr(name) for name in class_names if key(name) == first[0]]
            tally.notes.append(f"the classes {few(same)} {what}")
    if absent := [name for name in class_names if name.lower() in MISSING]:
        tally.notes.append(f"{few(list(map(repr, absent)))} counts as a class; leave it out if it is a missing label")


def check_class_names(name: str, class_names: Sequence[str]) -> None:
    """Raise UsageError for a name that the files of a run, one class in a line, could not hold.

    Args:
        name: Name of the data, for the message.
        class_names: Names of the classes.
    """
    for known in class_names:
        if not known.strip() or len(known.splitlines()) > 1 or known != known.strip("\r\n"):
            raise UsageError(f"{name}: expected names of classes that are one line each, received {known!r}; rename it")
