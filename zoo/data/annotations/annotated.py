"""What a layout of annotations is read into: pictures with the boxes that are drawn in them, and what is wrong."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.console.errors import UsageError

# Number of pictures that a message names.
LISTED = 3


@dataclass(frozen=True)
class Picture:
    """A picture and the objects in it, as its annotation says.

    Args:
        file: Path of the picture.
        classes: Name of each object's class.
        boxes: x1, y1, x2, y2 of each, (objects, 4) float64: pixels of the upright picture, or shares of its sides.
        shares: Whether they are shares.
        size: (width, height) of the picture that the annotation states; None if it states none.
    """

    file: Path
    classes: tuple[str, ...]
    boxes: np.ndarray
    shares: bool = False
    size: tuple[int, int] | None = None


@dataclass
class Faults:
    """Faults of annotations: each is refused, or what it concerns is left out with --skip-bad.

    Args:
        found: Names of what has a fault, by the fault.
    """

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, fault: str, name: object) -> None:
        """Note a fault of a picture or of an annotation."""
        self.found.setdefault(fault, []).append(str(name))

    def counts(self) -> Counter[str]:
        """Return how often each fault was found."""
        return Counter({fault: len(names) for fault, names in self.found.items()})

    def check(self, what: object) -> None:
        """Raise UsageError if there is a fault; the message counts and names them.

        Args:
            what: Subject of the message.
        """
        if not self.found:
            return
        told = [
            f"{len(names):,} {fault} ({', '.join(names[:LISTED])}{', ...' if len(names) > LISTED else ''})"
            for fault, names in self.found.items()
        ]
        raise UsageError(
            f"{what}: expected boxes within their pictures, found {'; '.join(told)}; repair them, or leave them out"
            " with --skip-bad"
        )


@dataclass(frozen=True)
class Annotated:
    """Annotated pictures by split.

    Args:
        layout: Name of the layout.
        splits: Pictures by split; a single split "all" if the layout has no splits.
        classes: Names of the classes, in the order of their indices.
        faults: Faults that were found while reading.
        left_out: Number of pictures that are not used, by reason.
        notes: Sentences about what was assumed.
        named: Where each split comes from, if not from a name of its own.
    """

    layout: str
    splits: dict[str, list[Picture]]
    classes: tuple[str, ...]
    faults: Faults
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)


def pictures_by_stem(folders: list[Path]) -> dict[str, Path]:
    """Return the pictures that lie directly in some folders by their names without suffix."""
    from zoo.data.sources.folders import SUFFIXES, visible_files

    return {file.stem: file for folder in folders if folder.is_dir() for file in visible_files(folder, SUFFIXES)}
