"""Fields of `tf.train.Example`, found in the bytes of a record without building the message.

An Example holds Features (field 1), a map (field 1) from a name (1) to a Feature (2), which is a list of bytes (1), of
floats (2) or of integers (3), each of whose values are field 1. Source: tensorflow/core/example/feature.proto and
example.proto, and protobuf.dev/programming-guides/encoding.
"""

from dataclasses import replace
from typing import NamedTuple

from zoo.config.records import PICTURE, Schema, only
from zoo.console.errors import few, nearest
from zoo.data import images
from zoo.data.stored.row import Row

BYTES, FLOATS, INTEGERS = 1, 2, 3
WORDS = {BYTES: "bytes", FLOATS: "floats", INTEGERS: "integers"}
_LENGTH_DELIMITED = 2
# Wire types that have another number of bytes than they say, and that number.
_FIXED = {5: 4, 1: 8}


class Field(NamedTuple):
    """One field of a record.

    Attributes:
        kind: BYTES, FLOATS or INTEGERS; 0 for an empty field.
        begin: First byte of the values in the record.
        end: Byte behind them.
        count: Number of byte strings, 1 for floats and integers, whose values are packed.
    """

    kind: int
    begin: int
    end: int
    count: int


def fields(record: bytes) -> dict[str, Field]:
    """Return the fields of a record by name.

    Raises:
        ValueError: The bytes are no Example, or its numbers are not packed.
    """
    found = {}
    for features in _parts(record, 0, len(record), 1):
        for entry in _parts(record, *features, 1):
            name, feature = b"", None
            for number, begin, end in _walk(record, *entry):
                if number == 1:
                    name = record[begin:end]
                elif number == 2:
                    feature = begin, end
            if feature is not None:
                found[name.decode(errors="replace")] = _field(record, *feature)
    return found


def integers(record: bytes, field: Field) -> list[int]:
    """Return the values of a field of integers."""
    values, place = [], field.begin
    while place < field.end:
        value, place = _varint(record, place)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values


def _field(record: bytes, begin: int, end: int) -> Field:
    for kind, first, last in _walk(record, begin, end):
        values = list(_walk(record, first, last))
        if kind != BYTES and (len(values) > 1 or (values and values[0][0] != 1)):
            raise ValueError("expected packed numbers, received single ones")
        if not values:
            return Field(kind, first, first, 0)
        return Field(kind, values[0][1], values[0][2], len(values))
    return Field(0, begin, begin, 0)


def _parts(record: bytes, begin: int, end: int, wanted: int) -> list[tuple[int, int]]:
    return [(first, last) for number, first, last in _walk(record, begin, end) if number == wanted]


def _walk(record: bytes, begin: int, end: int) -> list[tuple[int, int, int]]:
    """Return number, first byte and end of each field of a message."""
    found = []
    while begin < end:
        key, begin = _varint(record, begin)
        wire = key & 7
        if wire == _LENGTH_DELIMITED:
            size, begin = _varint(record, begin)
        elif wire in _FIXED:
            size = _FIXED[wire]
        elif wire == 0:
            size = _varint(record, begin)[1] - begin
        else:
            raise ValueError("expected a tf.train.Example, received other bytes")
        if begin + size > end:
            raise ValueError("expected a tf.train.Example, received other bytes")
        found.append((key >> 3, begin, begin + size))
        begin += size
    return found


def _varint(record: bytes, place: int) -> tuple[int, int]:
    """Return an integer of variable length, and the place behind it."""
    value = shift = 0
    while True:
        if place >= len(record) or shift > 63:
            raise ValueError("expected a tf.train.Example, received other bytes")
        byte = record[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def row(number: int, record: bytes, begin: int, schema: Schema, look: bool) -> Row:
    """Return place and label of a record.

    Args:
        number: Number of the record in its file.
        record: Bytes of the Example.
        begin: First byte of the record in its file.
        schema: Fields to read.
        look: Whether the schema is completed by this record.

    Raises:
        ValueError: A field that is missing or of another kind.
    """
    found = fields(record)
    schema = _completed(record, found, schema) if look else schema
    x = _named(found, schema.x)
    if x.kind != (FLOATS if schema.type == "float32" else BYTES) or x.count != 1:
        values = f"{x.count} values of {WORDS[x.kind]}" if x.kind else "nothing"
        wanted = "floats" if schema.type == "float32" else "one value of bytes"
        raise ValueError(f"expected {wanted} as {schema.x!r}, received {values}")
    return Row(number, begin + x.begin, x.end - x.begin, _label(record, _named(found, schema.y), schema.y), schema)


def _named(found: dict[str, Field], name: str) -> Field:
    if name not in found:
        raise ValueError(f"expected a field {name!r}, its fields are {_listed(found)}{nearest(name, found)}")
    return found[name]


def _listed(found: dict[str, Field]) -> str:
    return few([f"{name} ({WORDS.get(field.kind, 'empty')})" for name, field in sorted(found.items())])


def _label(record: bytes, field: Field, name: str) -> int | str:
    if field.kind == INTEGERS:
        values = integers(record, field)
        if len(values) == 1:
            return values[0]
        raise ValueError(f"expected one label as {name!r}, received {len(values)}")
    if field.kind == BYTES and field.count == 1:
        return record[field.begin : field.end].decode()
    raise ValueError(
        f"expected one whole number or text as the label {name!r}, received {WORDS.get(field.kind, 'none')}"
    )


def _completed(record: bytes, found: dict[str, Field], schema: Schema) -> Schema:
    """Return the schema with the fields and the type that it leaves open, where one alone fits."""
    x, y = schema.x, schema.y
    if not x:
        pictures = [
            name
            for name, f in found.items()
            if f.kind == BYTES and f.count == 1 and images.is_picture(record[f.begin : f.end])
        ]
        floats = [name for name, field in found.items() if field.kind == FLOATS and field.end - field.begin > 4]
        x = only("x", pictures or floats, _listed(found), "field")
    if not y:
        named = [
            name for name, f in found.items() if name.rpartition("/")[2] == "label" and f.kind in (BYTES, INTEGERS)
        ]
        numbers = [n for n, f in found.items() if f.kind == INTEGERS and n != x]
        y = only("y", named or numbers, _listed(found), "field")
    field = _named(found, x)
    kind = schema.type or ("float32" if field.kind == FLOATS else "")
    if not kind:
        if not images.is_picture(record[field.begin : field.end]):
            raise ValueError(
                f"expected an encoded picture as {x!r}, received other bytes; --schema x={x}:uint8[...] says that they"
                " are numbers"
            )
        kind = PICTURE
    return replace(schema, x=x, y=y, type=kind)
