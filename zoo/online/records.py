"""Conversion of stream lines to examples in the format of a run, with a reason for each rejected line."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.cli import say
from zoo.console.errors import UsageError
from zoo.data import DataSpec, Split, images
from zoo.data.text import Vocabulary, check_text
from zoo.online.streams import Line, Position

# Function from the content of a line to an example and its class index.
Parse = Callable[[bytes], tuple[np.ndarray, int]]


class Malformed(ValueError):
    """A line that is not a valid example; the message says why."""


class NotJSON(Malformed):
    """A line that is not valid JSON. If it has no line break yet, it may be incomplete."""


@dataclass(frozen=True)
class Record:
    """An example of a stream, or a rejected line.

    Args:
        position: Position after the line.
        x: Input in the format of a `Split`.
        y: Class index.
        reason: Reason why the line was rejected, empty for an example.
        content: Content of a rejected line.
    """

    position: Position
    x: np.ndarray | None = None
    y: int = -1
    reason: str = ""
    content: bytes = b""


def of_lines(found: Iterable[Line], parse: Parse) -> Iterator[Record]:
    """Yield a record for each non-empty line. An incomplete last line is left for a later run.

    Args:
        found: Lines of the stream.
        parse: Parser returned by `parser`.
    """
    for line in found:
        if not line.content.strip():
            continue
        try:
            x, y = parse(line.content)
        except NotJSON as error:
            if not line.ended:
                say(f"line {line.position.line:,} is incomplete; --resume reads it once it is complete")
                return
            yield Record(line.position, reason=str(error), content=line.content)
        except Malformed as error:
            yield Record(line.position, reason=str(error), content=line.content)
        else:
            yield Record(line.position, x, y)


def of_split(split: Split, start: Position) -> Iterator[Record]:
    """Yield the examples of a split after a position, in order."""
    for i in range(start.line, len(split)):
        yield Record(Position(i + 1), split.x[i], int(split.y[i]))


def parser(spec: DataSpec, vocabulary: Vocabulary | None, folder: Path) -> Parse:
    """Return the function that parses lines; it raises `Malformed` for invalid ones.

    Args:
        spec: Description of the data the run was trained on.
        vocabulary: Vocabulary of a run on texts, otherwise None.
        folder: Folder that relative image paths start from.
    """
    indices = {name: i for i, name in enumerate(spec.class_names)}

    def parse(content: bytes) -> tuple[np.ndarray, int]:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise NotJSON(f"not JSON: {str(error)[:100]}") from None
        if not isinstance(found, dict) or not {"x", "y"} <= set(found):
            raise Malformed(f"expected an object with x and y, received {_short(found)}")
        return _input(found["x"], spec, vocabulary, folder), _label(found["y"], indices)

    return parse


def _label(y: Any, indices: dict[str, int]) -> int:
    """Return the class index of a class name or a valid index."""
    if isinstance(y, str) and y in indices:
        return indices[y]
    if isinstance(y, int) and not isinstance(y, bool) and 0 <= y < len(indices):
        return y
    raise Malformed(f"y: expected the name of a class, or an index from 0 to {len(indices) - 1}, received {_short(y)}")


def _input(x: Any, spec: DataSpec, vocabulary: Vocabulary | None, folder: Path) -> np.ndarray:
    if vocabulary is not None:
        if not isinstance(x, str) or not x.strip():
            raise Malformed(f"x: expected text, received {_short(x)}")
        try:
            check_text("x", x)
        except UsageError as error:
            raise Malformed(str(error)) from None
        return vocabulary.padded(vocabulary.rows([x]), spec.input_shape[0])[0]
    if spec.kind == "image" and isinstance(x, str):
        try:
            return images.decode(folder / x, spec.input_shape[:2], spec.input_shape[2], spec.fit)
        except images.Unreadable as error:
            raise Malformed(f"x: {_short(x)} cannot be read as an image: {str(error)[:100]}") from None
    numbers = _numbers(x, spec)
    if spec.kind in ("image", "tokens"):
        highest = images.PIXEL_MAX if spec.kind == "image" else spec.vocabulary_size - 1
        if (numbers != np.rint(numbers)).any() or numbers.min() < 0 or numbers.max() > highest:
            raise Malformed(f"x: expected integers from 0 to {highest}, received {numbers.min()} to {numbers.max()}")
        return numbers.astype(np.uint8 if spec.kind == "image" else np.int32)
    return numbers.astype(np.float32)


def _numbers(x: Any, spec: DataSpec) -> np.ndarray:
    """Return finite float64 numbers of the run's input shape. Greyscale images may omit the channel dimension."""
    try:
        found = np.asarray(x)
    except (ValueError, OverflowError, RecursionError):
        raise Malformed("x: expected lists of equal length, received lists of different lengths") from None
    if found.dtype.kind not in "iuf":
        raise Malformed(f"x: expected numbers in lists, received {_short(x)}")
    if found.shape == spec.input_shape[:-1] and spec.kind == "image" and spec.input_shape[-1] == 1:
        found = found[..., None]
    if found.shape != spec.input_shape:
        raise Malformed(f"x: expected the shape {spec.input_shape}, received {found.shape}")
    if not (abs(found.astype(np.float64)) <= np.finfo(np.float32).max).all():  # also true for NaN
        raise Malformed("x: expected finite numbers, received NaN, infinity or a number out of range")
    return found.astype(np.float64)


def _short(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:
        return "lists or objects that are nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."
