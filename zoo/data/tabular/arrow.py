"""The columns of Parquet files with our types. pyarrow is imported when it is needed."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from zoo.data.tabular.kinds import EXACT


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


def _plain(column: Any) -> Any:
    """Return a column without the dictionary of its values."""
    import pyarrow

    return column.cast(column.type.value_type) if pyarrow.types.is_dictionary(column.type) else column


def _objects(texts: Iterable[str]) -> np.ndarray:
    listed = list(texts)
    found = np.empty(len(listed), object)
    found[:] = listed
    return found
