"""Files of records by their names, and schemas of records (`--schema`): which field is the input, which is the label.

Standard library only.

    x=image/encoded, y=image/class/label          fields by name; types are those of the first record
    x=signal:float32[128,9], y=label              with the shape of the input
    x=pixels:uint8[96,96,3], y=label              bytes that are numbers, not an encoded picture
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.console.errors import UsageError

# Formats by the end of a file's name, which shards may follow: name.tfrecord-00000-of-00010.
_FORMATS = {
    "TFRecord": re.compile(r"\.tfrecords?(-\d+-of-\d+)?$"),
    "ArrayRecord": re.compile(r"\.array_?record(-\d+-of-\d+)?$"),
    "tar": re.compile(r"\.tar$"),
    "Parquet": re.compile(r"\.parquet$"),
}
_PACKED = re.compile(r"\.(tar|tfrecords?|array_?record)(-\d+-of-\d+)?\.(gz|bz2|xz|zst)$|\.tgz$")
ENDINGS = ".tfrecord, .array_record, .tar or .parquet"
LOOKED_AT = 50
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/+(?=[^/])")
# Types of inputs: an encoded picture, or numbers.
PICTURE, DTYPES = "picture", ("float32", "uint8")
_FIELD = re.compile(r"(?P<role>[xy])\s*=\s*(?P<name>[^:,\[\]]+?)\s*(?::\s*(?P<type>\w*)(?:\[(?P<shape>[\d,\s]+)\])?)?")
_SEPARATOR = re.compile(r",\s*(?=[xy]\s*=)")


@dataclass(frozen=True)
class Schema:
    """The fields of a record.

    Args:
        x: Name of the input's field; empty to find it.
        y: Name of the label's field; empty to find it.
        type: Type of the input, a name of DTYPES or PICTURE; empty to find it.
        shape: Shape of an input of numbers; empty to find it.
    """

    x: str = ""
    y: str = ""
    type: str = ""
    shape: tuple[int, ...] = ()


def parse(text: str | None) -> Schema:
    """Return the schema of a text; nothing for None.

    Raises:
        UsageError: A text of another form.
    """
    found: dict[str, re.Match] = {}
    for part in _SEPARATOR.split(text.strip()) if text else ():
        match = _FIELD.fullmatch(part.strip())
        if match is None or match["role"] in found:
            raise UsageError(
                f"--schema: expected x=FIELD, y=FIELD, where FIELD may be followed by a type such as :float32[128],"
                f" received {text!r}"
            )
        found[match["role"]] = match
    if "y" in found and (found["y"]["type"] or found["y"]["shape"]):
        raise UsageError(f"--schema: expected y=FIELD without a type, received {found['y'][0]!r}")
    x = found.get("x")
    kind = x["type"] or "" if x else ""
    if kind not in ("", PICTURE, *DTYPES):
        raise UsageError(
            f"--schema: expected one of {PICTURE}, {', '.join(DTYPES)} as the type of x, received {kind!r}"
        )
    shape = tuple(int(n) for n in re.findall(r"\d+", x["shape"] or "")) if x else ()
    if 0 in shape or len(shape) > 3:
        raise UsageError(f"--schema: expected a shape of one to three sizes from 1, received {list(shape)}")
    if shape and kind == PICTURE:
        raise UsageError("--schema: expected --image-size for pictures instead of a shape")
    return Schema(x["name"] if x else "", found["y"]["name"] if "y" in found else "", kind, shape)


def format_of(name: str) -> str:
    """Return the format of a file of records by its name: TFRecord, ArrayRecord, tar or Parquet; empty for others."""
    return next((kind for kind, ending in _FORMATS.items() if ending.search(name.lower())), "")


def is_address(path: Path | str) -> bool:
    """Return whether a path is an address of another file system, such as gs://bucket/folder."""
    return _ADDRESS.match(str(path)) is not None


def check_unpacked(name: str) -> None:
    """Raise UsageError for the name of a compressed file of records."""
    if _PACKED.search(name.lower()):
        raise UsageError(
            f"{name}: expected files that are not compressed, whose records can be read by themselves: unpack it"
        )


def holds_records(path: Path) -> bool:
    """Return whether own data are records: a file of them, an address, or a folder of such files or of such folders.

    The first `LOOKED_AT` names of each folder tell, as a folder of pictures may have millions.
    """
    if is_address(path):
        return True
    if not path.is_dir():
        return bool(format_of(path.name))
    inside = _first(path)
    return any(format_of(file.name) for place in (inside, *map(_first, inside)) for file in place)


def _first(folder: Path) -> list[Path]:
    return list(itertools.islice(folder.iterdir(), LOOKED_AT)) if folder.is_dir() else []


def only(role: Literal["x", "y"], names: Sequence[str], listed: str, part: str) -> str:
    """Return the only name that could be the input or the label.

    Args:
        role: x for the input, y for the label.
        names: What it could be.
        listed: All names, for the message.
        part: What a name stands for, such as "field".

    Raises:
        ValueError: There are several, or none.
    """
    if len(names) == 1:
        return names[0]
    found = f"several {part}s" if names else f"no {part}"
    what = "the input" if role == "x" else "the label"
    raise ValueError(f"--schema: expected {role}={part.upper()}, as {found} could be {what}; the {part}s are {listed}")
