"""Tar archives as WebDataset writes them: the members of one example follow each other and share the name up to its
first dot, such as 000017.jpg and 000017.cls.

The input is the member with the ending x of the schema, by default the picture; the label is in the member with the
ending y: a class index or the name of a class, or y=json/KEY for a value of a JSON object.
"""

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from zoo.config.records import PICTURE, Schema
from zoo.console.errors import few, nearest
from zoo.data.sources.folders import SUFFIXES
from zoo.data.stored import places
from zoo.data.stored.row import Row
from zoo.data.stored.spans import Spans
from zoo.system.files import is_hidden

BLOCK = 512  # an archive ends with blocks of zeros (POSIX.1-1988, ustar)
LABELS = ("cls", "json/label", "json/cls", "txt")


def rows(file: str, schema: Schema, look: bool) -> Iterator[Row]:
    """Yield the examples of an archive; see `tfrecord.rows`.

    Raises:
        ValueError: An archive that is damaged or cut, or an example without one of the members.
    """
    with places.opened(file) as stream:
        for number, (key, members) in enumerate(_groups(stream)):
            schema = _completed(key, members, schema, stream) if look else schema
            x = _member(key, members, schema.x)
            yield Row(number, x.offset_data, x.size, _label(key, members, schema.y, stream), schema)


def _groups(stream) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:  # noqa: ANN001  (any open file)
    """Yield the members of each example by their ending, and the name that they share."""
    size = stream.seek(0, 2)
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            now, members, end = "", {}, 0
            for member in archive:
                archive.members = []  # it would keep all of them
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                if member.offset_data + member.size > size:
                    raise ValueError(f"the archive is cut within {member.name}")
                folder, _, base = member.name.rpartition("/")
                if not member.isreg() or is_hidden(base):
                    continue
                name, _, ending = base.partition(".")
                key = f"{folder}/{name}" if folder else name
                if key != now and members:
                    yield now, members
                    members = {}
                if ending in members:
                    raise ValueError(f"expected one member {member.name}, received two")
                now = key
                members[ending] = member
    except tarfile.TarError as error:
        if "unexpected end" in str(error):
            raise ValueError("the archive is cut") from None
        raise ValueError(f"expected a tar archive that is not compressed: {error}") from None
    stream.seek(end)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise ValueError("the archive is cut: it does not end with a block of zeros")
    if members:
        yield now, members


def _member(key: str, members: dict[str, tarfile.TarInfo], ending: str) -> tarfile.TarInfo:
    if ending not in members:
        raise ValueError(
            f"{key}: expected a member .{ending}, received {few(sorted(members))}{nearest(ending, members)}"
        )
    return members[ending]


def _completed(key: str, members: dict[str, tarfile.TarInfo], schema: Schema, stream) -> Schema:  # noqa: ANN001
    """Return the schema with the endings that it leaves open."""
    x, y = schema.x, schema.y
    if not x:
        pictures = [ending for ending in members if f".{ending.lower()}" in SUFFIXES]
        if len(pictures) != 1:
            raise ValueError(f"--schema: expected x=ENDING of the input, the members are {few(sorted(members))}")
        x = pictures[0]
    if not y:
        possible = [label for label in LABELS if label.partition("/")[0] in members and label.partition("/")[0] != x]
        for label in possible:
            try:
                _label(key, members, label, stream)
            except ValueError:
                continue
            y = label
            break
        else:
            raise ValueError(f"--schema: expected y=ENDING of the label, the members are {few(sorted(members))}")
    return replace(schema, x=x, y=y, type=schema.type or PICTURE)


def _label(key: str, members: dict[str, tarfile.TarInfo], said: str, stream) -> int | str:  # noqa: ANN001
    ending, _, name = said.partition("/")
    member, place = _member(key, members, ending), stream.tell()
    stream.seek(member.offset_data)
    content = stream.read(member.size)
    stream.seek(place)
    if not name:
        text = content.decode().strip()
        return int(text) if text.lstrip("-").isdecimal() else text
    values = json.loads(content)
    if not isinstance(values, dict) or name not in values:
        raise ValueError(f"{key}: expected {name!r} in the object of .{ending}, received {str(values)[:60]}")
    value = values[name]
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(f"{key}: expected a whole number or a text as {name!r}, received {str(value)[:60]}")
    return value


def source(
    files: Sequence[str], schema: Schema, file: np.ndarray, offset: np.ndarray, length: np.ndarray, *, together: bool
) -> Spans:
    """Return where the inputs are."""
    return Spans(files, file, offset, length, together=together)
