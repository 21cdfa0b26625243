"""What a layout of annotations is read into: pictures with the boxes that are drawn in them, and what is wrong."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.console.errors import UsageError
from zoo.data.sources.folders import pictures_below

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


def text_of(file: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        UsageError: A file that cannot be read, or that is not in UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: expected a text in UTF-8: {error}") from None


def real_paths(files: Iterable[Path]) -> list[Path]:
    """Return paths without links and `..` in the names of their folders, so that they can be compared."""
    folders: dict[Path, Path] = {}
    return [folders.setdefault(file.parent, file.parent.resolve()) / file.name for file in files]


def count_unread(root: Path, known: Iterable[Path], aside: Collection[str] = ()) -> int:
    """Return the number of pictures below a folder that no annotation speaks of.

    Args:
        root: Folder.
        known: Pictures that are read, or counted for another reason.
        aside: Names of folders whose pictures do not count.
    """
    found = [file for file in pictures_below(root) if not set(aside) & set(file.relative_to(root).parts[:-1])]
    return len(set(real_paths(found)) - set(real_paths(known)))


def without_repeats(found: Annotated) -> Annotated:
    """Return annotated pictures with each picture once in a split; entries of the same picture are joined, and told."""
    splits, repeats = {}, 0
    for split, part in found.splits.items():
        entries: dict[Path, list[Picture]] = {}
        for path, one in zip(real_paths(one.file for one in part), part, strict=True):
            entries.setdefault(path, []).append(one)
        splits[split] = [_joined(same) for same in entries.values()]
        repeats += sum(len(same) > 1 for same in entries.values())
    if not repeats:
        return found
    note = f"{repeats:,} pictures have several entries; each is read once, with the boxes of all of them"
    return dataclasses.replace(found, splits=splits, notes=[*found.notes, note])


def _joined(entries: list[Picture]) -> Picture:
    """Return entries of one picture as one; objects that several of them have are taken once."""
    if len(entries) == 1:
        return entries[0]
    objects = dict.fromkeys(
        (kind, *box) for one in entries for kind, box in zip(one.classes, one.boxes.tolist(), strict=True)
    )
    boxes = np.array([box for _, *box in objects], np.float64).reshape(-1, 4)
    return dataclasses.replace(entries[0], classes=tuple(kind for kind, *_ in objects), boxes=boxes)
