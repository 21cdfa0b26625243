"""From lines of a stream to examples in the form that a run was trained on; what is none says why."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.cli import say
from zoo.data import DataSpec, Split, images
from zoo.data.text import Vocabulary
from zoo.online.streams import Line, Position

# From the content of a line to an example and its class index.
Parse = Callable[[bytes], tuple[np.ndarray, int]]


class Malformed(ValueError):
    """A line that is no example; the message says why."""


class NotJSON(Malformed):
    """A line that is no JSON: of a line without an end, perhaps its first part alone."""


@dataclass(frozen=True)
class Record:
    """What a line holds: an example, or a reason why it is none.

    Args:
        position: behind the line.
        x: the example, as a `Split` has it.
        y: its class index.
        reason: why the line is no example; empty where it is one.
        content: of a line that is none.
    """

    position: Position
    x: np.ndarray | None = None
    y: int = -1
    reason: str = ""
    content: bytes = b""


def of_lines(found: Iterable[Line], parse: Parse) -> Iterator[Record]:
    """Yield a record for each line that is not empty; a last line that is not whole is left to be read again."""
    for line in found:
        if not line.content.strip():
            continue
        try:
            x, y = parse(line.content)
        except NotJSON as error:
            if not line.ended:
                say(f"line {line.position.line:,} has no end yet: it is no record before --resume finds it whole")
                return
            yield Record(line.position, reason=str(error), content=line.content)
        except Malformed as error:
            yield Record(line.position, reason=str(error), content=line.content)
        else:
            yield Record(line.position, x, y)


def of_split(split: Split, start: Position) -> Iterator[Record]:
    """Yield the examples of a split behind a position, in order."""
    for i in range(start.line, len(split)):
        yield Record(Position(i + 1), split.x[i], int(split.y[i]))


def parser(spec: DataSpec, vocabulary: Vocabulary | None, folder: Path) -> Parse:
    """Return what makes examples of lines, which raises `Malformed`.

    Args:
        spec: the form that the run was trained on.
        vocabulary: of a run on texts.
        folder: that paths of images begin at.
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
    """Return a class index: that of a name, or a whole number that is one."""
    if isinstance(y, str) and y in indices:
        return indices[y]
    if isinstance(y, int) and not isinstance(y, bool) and 0 <= y < len(indices):
        return y
    raise Malformed(f"y: expected the name of a class, or an index from 0 to {len(indices) - 1}, received {_short(y)}")


def _input(x: Any, spec: DataSpec, vocabulary: Vocabulary | None, folder: Path) -> np.ndarray:
    if vocabulary is not None:
        if not isinstance(x, str) or not x.strip():
            raise Malformed(f"x: expected a text, received {_short(x)}")
        return vocabulary.padded(vocabulary.rows([x]), spec.input_shape[0])[0]
    if spec.kind == "image" and isinstance(x, str):
        try:
            return images.decode(folder / x, spec.input_shape[:2], spec.input_shape[2])
        except images.UNREADABLE as error:
            raise Malformed(f"x: {_short(x)} cannot be read as an image: {str(error)[:100]}") from None
    numbers = _numbers(x, spec)
    if spec.kind in ("image", "tokens"):
        highest = images.PIXEL_MAX if spec.kind == "image" else spec.vocabulary_size - 1
        if (numbers != np.rint(numbers)).any() or numbers.min() < 0 or numbers.max() > highest:
            raise Malformed(
                f"x: expected whole numbers from 0 to {highest}, received {numbers.min()} to {numbers.max()}"
            )
        return numbers.astype(np.uint8 if spec.kind == "image" else np.int32)
    return numbers.astype(np.float32)


def _numbers(x: Any, spec: DataSpec) -> np.ndarray:
    """Return finite numbers of the run's shape, float64; of images with one channel that may be left out."""
    try:
        found = np.asarray(x)
    except ValueError:
        raise Malformed("x: expected lists of one length, received lists of several") from None
    if found.dtype.kind not in "iuf":
        raise Malformed(f"x: expected numbers in lists, received {_short(x)}")
    if found.shape == spec.input_shape[:-1] and spec.kind == "image" and spec.input_shape[-1] == 1:
        found = found[..., None]
    if found.shape != spec.input_shape:
        raise Malformed(f"x: expected the shape {spec.input_shape}, received {found.shape}")
    if not (abs(found.astype(np.float64)) <= np.finfo(np.float32).max).all():  # NaN compares as false
        raise Malformed("x: expected finite numbers, received NaN, an infinite or a too large one")
    return found.astype(np.float64)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
