"""The columns of Parquet files with our types, and columns of texts. pyarrow is imported when it is needed.

What is said of texts here is what Python says of each of them: what cannot be told of a whole column is left to Python.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo.data.tabular.kinds import EXACT, KINDS, MISSING, Form, as_texts, values_of

_LONGEST_MISSING = max(map(len, MISSING))
_ZERO, _NINE, _SPACE, _PLUS, _MINUS, _POINT, _ASCII = *b"09 +-.", 127
_LEAST_PLAIN, _MOST_PLAIN = 1e-4, 1e9


def is_large(column: Any) -> bool:
    """Return whether a column of whole numbers has one that float64 does not hold."""
    import pyarrow
    from pyarrow import compute

    column = _plain(column)
    if not pyarrow.types.is_integer(column.type) or column.null_count == len(column):
        return False
    ends = compute.min_max(column)
    return max(abs(ends["min"].as_py()), abs(ends["max"].as_py())) >= EXACT


def values(column: Any, large: bool) -> tuple[np.ndarray | None, int]:
    """Return a column with one of our types, and how many numbers are infinite and count as missing.

    Args:
        column: Chunked array of Arrow.
        large: Whether whole numbers are texts, because float64 does not hold all of the column.

    Returns:
        Values and number; None for lists, objects and bytes.
    """
    import pyarrow

    column = _plain(column)
    types, kind = pyarrow.types, column.type
    if types.is_boolean(kind):
        return _objects("" if value is None else str(value).lower() for value in column.to_pylist()), 0
    if types.is_string(kind) or types.is_large_string(kind):
        return _objects("" if value is None else value.strip() for value in column.to_pylist()), 0
    if types.is_timestamp(kind) or types.is_date(kind):
        moments = column.cast(pyarrow.timestamp("us", getattr(kind, "tz", None)), safe=False)
        return moments.to_numpy().astype("datetime64[us]"), 0
    if types.is_integer(kind) and large:
        return _objects("" if value is None else str(value) for value in column.to_pylist()), 0
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        numbers = column.cast(pyarrow.float64(), safe=False).to_numpy()
        infinite = np.isinf(numbers)
        return np.where(infinite, np.nan, numbers), int(infinite.sum())
    return None, 0


def words(column: Any) -> list[str]:
    """Return the different texts of a column of Parquet without spaces around them, none for another column."""
    import pyarrow

    column = _plain(column)
    if not (pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)):
        return []
    return [text.strip() for text in column.unique().to_pylist() if text is not None]


def told(kind: Any, large: bool, infinite: int) -> tuple[str, ...]:
    """Return what was assumed of a column, as clauses that follow its name.

    Args:
        kind: Type of the column.
        large: As for `values`.
        infinite: Number of infinite numbers.
    """
    if getattr(kind, "tz", None) not in (None, "UTC"):
        return ("has a time zone, which was changed to UTC",)
    if large:
        return ("is of texts: it has whole numbers that float64 does not hold",)
    return (f"has {infinite:,} infinite numbers, which count as missing",) if infinite else ()


def texts(values: Sequence[str]) -> Any:
    """Return texts as an array of Arrow, or as a list if one has half of a surrogate pair."""
    import pyarrow

    try:
        return pyarrow.array(values, pyarrow.string())
    except UnicodeEncodeError:
        return list(values)


def texts_of(values: np.ndarray) -> Any:
    """Return numbers as texts, as `kinds.as_texts` does, in an array of Arrow."""
    import pyarrow
    from pyarrow import compute

    size = np.abs(values)
    whole = (values == np.round(values)) & (size < EXACT) & ~(np.signbit(values) & (values == 0))
    # Between these, Python and Arrow write the same digits without an exponent.
    usual = ~whole & (size >= _LEAST_PLAIN) & (size < _MOST_PLAIN)
    found = pyarrow.array(values).cast(pyarrow.string())
    if whole.any():
        integers = pyarrow.array(np.where(whole, values, 0).astype(np.int64)).cast(pyarrow.string())
        found = compute.if_else(pyarrow.array(whole), integers, found)
    rest = ~whole & ~usual
    if rest.any():
        found = compute.replace_with_mask(found, pyarrow.array(rest), pyarrow.array(as_texts(values[rest])))
    return found


def joined(columns: Sequence[Any], mark: str) -> list[memoryview]:
    """Return the values of each row with a mark between them, as UTF-8.

    Args:
        columns: Arrays of texts.
        mark: What is between values.
    """
    from pyarrow import compute

    content, begins, ends = _bytes(compute.binary_join_element_wise(*columns, mark))
    whole = memoryview(content)
    return [whole[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def stripped(column: Any) -> tuple[Any, int]:
    """Return texts without spaces around them, and the number of those spaces.

    Args:
        column: Array of texts.
    """
    content, begins, ends = _bytes(column)
    filled = begins < ends
    outer = np.concatenate([content[begins[filled]], content[ends[filled] - 1]])
    if not ((outer <= _SPACE) | (outer > _ASCII)).any():
        return column, 0
    given = column.to_pylist()
    found = [text.strip() for text in given]
    return texts(found), sum(map(len, given)) - sum(map(len, found))


def numbers(column: Any) -> np.ndarray | None:
    """Return texts as numbers, NaN for those that stand for a missing one; None unless all others surely are numbers.

    Args:
        column: Array of texts without spaces around them.
    """
    import pyarrow
    from pyarrow import compute

    content, begins, ends = _bytes(column)
    given = ~_missing(column, ends - begins)
    first, second, third = (_at(content, begins[given] + i, ends[given]) for i in range(3))
    if not _starting(first).all():
        return None
    signed = (first == _PLUS) | (first == _MINUS)
    first, second = np.where(signed, second, first), np.where(signed, third, second)
    if ((first == _ZERO) & _digits(second)).any():  # a name, such as 00501
        return None
    try:
        column = column if given.all() else compute.if_else(pyarrow.array(given), column, None)
        found = column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        return None
    # NaN is greater than nothing, so that infinite and large numbers and the text nan are left to Python.
    return found if (np.abs(found[given]) < EXACT).all() else None


def values_of_texts(column: Any, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Return what `kinds.values_of` does.

    Args:
        column: Array of texts.
        form: What `Evidence` shows of the whole column.
    """
    from pyarrow import compute

    column, _ = stripped(column)
    if KINDS[form] == "numbers":
        found = numbers(compute.replace_substring(column, ",", ".") if form == "commas" else column)
        if found is not None:
            return found, np.zeros(0, np.int64)
    each, places = distinct(column)
    found, bad = values_of(each, form)
    return found[places], np.flatnonzero(np.isin(places, bad)) if len(bad) else bad


def from_bytes(content: np.ndarray, ends: np.ndarray) -> Any:
    """Return texts as an array of Arrow.

    Args:
        content: UTF-8 of all texts after each other.
        ends: 0, and the end of each text in it.
    """
    import pyarrow

    places = pyarrow.py_buffer(ends.astype(np.int32))
    return pyarrow.StringArray.from_buffers(len(ends) - 1, places, pyarrow.py_buffer(content))


def distinct(column: Any) -> tuple[list[str], np.ndarray]:
    """Return the texts of a column, each once by its first place, and the place of each value among them."""
    found = column.dictionary_encode()
    return found.dictionary.to_pylist(), found.indices.to_numpy()


def _missing(column: Any, lengths: np.ndarray) -> np.ndarray:
    """Return which texts stand for a missing value."""
    found = lengths == 0
    short = np.flatnonzero(~found & (lengths <= _LONGEST_MISSING))
    if len(short):
        given, places = distinct(column.take(short))
        found[short] = np.array([text.lower() in MISSING for text in given])[places]
    return found


def _bytes(column: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the UTF-8 bytes of texts, and begin and end of each."""
    _, places, content = column.buffers()
    ends = np.frombuffer(places, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(content or b"", np.uint8), ends[:-1], ends[1:]


def _digits(each: np.ndarray) -> np.ndarray:
    return (each >= _ZERO) & (each <= _NINE)


def _starting(each: np.ndarray) -> np.ndarray:
    """Return which bytes a number may begin with."""
    return _digits(each) | (each == _PLUS) | (each == _MINUS) | (each == _POINT)


def _at(content: np.ndarray, places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the bytes at some places, 0 for those that are not before their end."""
    inside = places < ends
    found = np.zeros(len(places), np.uint8)
    found[inside] = content[places[inside]]
    return found


def _plain(column: Any) -> Any:
    """Return a column without the dictionary of its values."""
    import pyarrow

    return column.cast(column.type.value_type) if pyarrow.types.is_dictionary(column.type) else column


def _objects(texts: Iterable[str]) -> np.ndarray:
    listed = list(texts)
    found = np.empty(len(listed), object)
    found[:] = listed
    return found
