"""Parquet files, read a piece at a time.

Rows lie in compressed groups of thousands, so that none can be read by itself. The inputs are therefore written once,
as they are, into a file of the cache, and read from there.

The input is a column of encoded pictures (bytes, or the struct of bytes and path that Hugging Face writes), a column of
lists of numbers, or several columns of numbers: x=height|width|depth, or x=* for all but the label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoo.config.records import PICTURE, Schema, only
from zoo.console.errors import UsageError, few, nearest
from zoo.data import images
from zoo.data.stored import places
from zoo.data.stored.row import Row
from zoo.data.stored.spans import Spans

# Rows that are read at once.
BATCH = 4096
EVERY, AND = "*", "|"


def contents(file: str, schema: Schema, look: bool) -> Iterator[tuple[Row, bytes]]:
    """Yield the rows of a file with the bytes of their inputs; see `tfrecord.rows`. The place of a row is not known.

    Raises:
        UsageError: pyarrow is not installed.
        ValueError: A damaged file, or one without a column of the schema.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet files: expected the package pyarrow: pip install pyarrow") from None
    number = 0
    try:
        with places.opened(file) as stream, parquet.ParquetFile(stream) as table:
            names = table.schema_arrow.names
            schema = _completed(table.schema_arrow, schema) if look else schema
            wanted = _columns(names, schema)
            for batch in table.iter_batches(BATCH, columns=[*wanted, schema.y]):
                inputs = _inputs(batch, wanted, schema, number)
                for content, label in zip(inputs, _labels(batch, schema.y), strict=True):
                    found = replace(schema, type=_type(content, schema)) if look else schema
                    yield Row(number, 0, len(content), label, found), content
                    number += 1
    except pyarrow.ArrowException as error:
        raise ValueError(f"damaged or cut: {error}") from None


def _completed(columns: Any, schema: Schema) -> Schema:
    """Return the schema with the columns that it leaves open."""
    import pyarrow

    types = dict(zip(columns.names, columns.types, strict=True))
    x, y, listed = schema.x, schema.y, few([f"{name} ({kind})" for name, kind in types.items()])
    if not y:
        named = [name for name in types if name == "label"]
        whole = [name for name, kind in types.items() if pyarrow.types.is_integer(kind) and name != x]
        y = only("y", named or whole, listed, "column")
    if not x:
        others = {name: kind for name, kind in types.items() if name != y}
        holds_bytes = [n for n, k in others.items() if pyarrow.types.is_binary(k) or pyarrow.types.is_struct(k)]
        lists = [n for n, k in others.items() if pyarrow.types.is_list(k) or pyarrow.types.is_fixed_size_list(k)]
        numbers = [n for n, k in others.items() if pyarrow.types.is_floating(k) or pyarrow.types.is_integer(k)]
        x = only("x", holds_bytes or lists, listed, "column") if holds_bytes or lists else EVERY
        if x == EVERY and len(numbers) < len(others):
            raise ValueError(
                f"--schema: expected x=COLUMN, as {few([n for n in others if n not in numbers])} hold no numbers"
            )
    return replace(schema, x=x, y=y)


def _columns(names: Sequence[str], schema: Schema) -> list[str]:
    """Return the columns of the input."""
    wanted = [name for name in names if name != schema.y] if schema.x == EVERY else schema.x.split(AND)
    for name in (*wanted, schema.y):
        if name not in names:
            raise ValueError(f"expected a column {name!r}, received {few(list(names))}{nearest(name, names)}")
    return wanted


def _inputs(batch: Any, wanted: list[str], schema: Schema, before: int) -> list[bytes]:
    import pyarrow

    columns = [batch.column(name) for name in wanted]
    for name, column in zip(wanted, columns, strict=True):
        if column.null_count:
            row = before + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(f"expected a value in every row of {name!r}, received none in row {row + 1:,}")
    kind = columns[0].type
    if len(columns) == 1 and pyarrow.types.is_struct(kind):
        names = [field.name for field in kind]
        if "bytes" not in names:
            raise ValueError(f"expected bytes in {wanted[0]!r}, received {few(names)}")
        columns, kind = [columns[0].field("bytes")], columns[0].field("bytes").type
    if len(columns) == 1 and (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
        return columns[0].to_pylist()
    dtype = np.uint8 if schema.type == "uint8" else np.dtype("<f4")
    if len(columns) == 1 and (pyarrow.types.is_list(kind) or pyarrow.types.is_fixed_size_list(kind)):
        return [np.asarray(row, dtype).tobytes() for row in columns[0].to_pylist()]
    values = np.stack([np.asarray(column.to_numpy(zero_copy_only=False), dtype) for column in columns], axis=1)
    return [row.tobytes() for row in values]


def _labels(batch: Any, name: str) -> list[int | str]:
    found = batch.column(name).to_pylist()
    for value in found:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValueError(f"expected a whole number or a text as {name!r}, received {value!r}")
    return found


def _type(content: bytes, schema: Schema) -> str:
    """Return the type of the inputs, by the first."""
    return schema.type or (PICTURE if images.is_picture(content) else "float32")


def source(
    files: Sequence[str], schema: Schema, file: np.ndarray, offset: np.ndarray, length: np.ndarray, *, together: bool
) -> Spans:
    """Return where the inputs are: in the file that they were written to."""
    return Spans(files, file, offset, length, together=together)
