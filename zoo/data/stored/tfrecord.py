"""TFRecord files of `tf.train.Example`.

A record is its length (8 bytes), the length's checksum (4), the bytes, and their checksum (4); the checksums are masked
CRC-32C. Source: tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details". All are compared when the
records are found.
"""

import struct
from collections.abc import Iterator, Sequence

import google_crc32c
import numpy as np

from zoo.config.records import Schema
from zoo.data.stored import examples, places
from zoo.data.stored.row import Row
from zoo.data.stored.spans import Spans

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
BEFORE = _LENGTH.size + _CHECKSUM.size
# First bytes of a file that gzip compressed (RFC 1952).
_GZIP = b"\x1f\x8b"
# Longest record that is read: what a message may hold at most (protobuf.dev/programming-guides/encoding).
LONGEST = 1 << 31


def rows(file: str, schema: Schema, look: bool) -> Iterator[Row]:
    """Yield the records of a file.

    Args:
        file: Path or address.
        schema: Fields to read.
        look: Whether the schema is completed by the record.

    Raises:
        ValueError: A record that is damaged or lacks a field.
    """
    place = 0
    with places.opened(file) as stream:
        for number, record in enumerate(_records(stream)):
            yield examples.row(number, record, place + BEFORE, schema, look)
            place += BEFORE + len(record) + _CHECKSUM.size


def _records(stream) -> Iterator[bytes]:  # noqa: ANN001  (any open file)
    while begin := stream.read(BEFORE):
        if len(begin) < BEFORE:
            raise ValueError("the file is cut")
        (length,) = _LENGTH.unpack_from(begin)
        if _masked(begin[: _LENGTH.size]) != _CHECKSUM.unpack_from(begin, _LENGTH.size)[0] or length > LONGEST:
            if begin.startswith(_GZIP):
                raise ValueError("expected records that are not compressed, received gzip; unpack the file")
            raise ValueError("expected a TFRecord, received other bytes: the checksum of its length differs")
        record, end = stream.read(length), stream.read(_CHECKSUM.size)
        if len(record) + len(end) < length + _CHECKSUM.size:
            raise ValueError(f"the file is cut: expected {length:,} bytes, received {len(record):,}")
        if _masked(record) != _CHECKSUM.unpack(end)[0]:
            raise ValueError("the record is damaged: its checksum differs")
        yield record


def _masked(content: bytes) -> int:
    """Return the masked CRC-32C, as TFRecord files have it."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def source(
    files: Sequence[str], schema: Schema, file: np.ndarray, offset: np.ndarray, length: np.ndarray, *, together: bool
) -> Spans:
    """Return where the inputs of the records are."""
    return Spans(files, file, offset, length, together=together)
