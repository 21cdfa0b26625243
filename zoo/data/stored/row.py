"""One record of a file, as an index needs it."""

from typing import NamedTuple

from zoo.config.records import Schema


class Row(NamedTuple):
    """One record.

    Attributes:
        number: Its number in the file.
        offset: First byte of the input in the file, or whatever the reader of the format finds it by.
        length: Number of bytes of the input.
        label: Class index or class name.
        schema: Schema with what was left open, if it was asked for.
    """

    number: int
    offset: int
    length: int
    label: int | str
    schema: Schema
