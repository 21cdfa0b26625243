"""Folders of pictures and masks: their form, and what the pixels of masks mean. Standard library only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.config.records import is_address
from zoo.console.errors import UsageError
from zoo.system.files import is_hidden

IMAGES, MASKS = "images", "masks"
# Class of pixels that are neither trained on nor scored, as in PASCAL VOC and Cityscapes.
IGNORED = 255
# Number of a class that no file has.
ABSENT = -1
MOST_CLASSES = 254
NAMES = "classes.txt"
# Files that say which colour of a mask is which class. The last two are those of CVAT and of the CamVid sets on Kaggle.
COLOUR_FILES = ("colors.txt", "colours.txt", "labelmap.txt", "class_dict.csv")
# Names of a class whose pixels are ignored.
_VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled")
# Names of the two classes of masks that have only 0 and 255.
BINARY = ("background", "foreground")
SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")


@dataclass(frozen=True)
class Coding:
    """What the pixels of masks mean.

    Args:
        names: Names of the classes.
        numbers: Value of each class in the files, or its colour as 65536 red + 256 green + blue; -1 for a class of a
            run that the files lack.
        ignored: Values or colours of pixels that are ignored.
        colours: Whether the numbers are colours.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    ignored: tuple[int, ...] = ()
    colours: bool = False

    def name_of(self, number: int) -> str:
        """Return a value or a colour for messages."""
        return f"#{number:06x}" if self.colours else str(number)


def is_folder_of_masks(path: Path | None) -> bool:
    """Return whether a path is a folder with images and masks, in it or in folders of splits."""
    if path is None or is_address(path) or not path.is_dir():
        return False
    return _has_both(path) or any(_has_both(path / name) for name in _names(path) if name.lower() in SPLITS)


def part(folder: Path, name: str) -> Path | None:
    """Return the folder of pictures or of masks inside a folder, in any case, or None."""
    return next((folder / found for found in _names(folder) if found.lower() == name), None)


def _has_both(path: Path) -> bool:
    return path.is_dir() and all(part(path, name) is not None for name in (IMAGES, MASKS))


def _names(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir() if not is_hidden(entry.name) and entry.is_dir())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None


def written_classes(root: Path, colours: bool) -> Coding | None:
    """Return the classes that a file of the folder names, None if there is none.

    Args:
        root: Folder of the data.
        colours: Whether masks have colours. If not, the lines of a file of colours are numbered from 0.

    Raises:
        UsageError: Two files for one purpose, a line that names no class, or a name or a colour given twice.
    """
    found = [root / name for name in COLOUR_FILES if (root / name).is_file()]
    if len(found) > 1:
        raise UsageError(f"{root}: expected one file of colours, received {found[0].name} and {found[1].name}")
    if found:
        rows = _coloured(found[0])
        return _checked(found[0], rows if colours else dict(enumerate(rows.values())), colours)
    file = root / NAMES
    return _checked(file, dict(enumerate(_lines(file))), colours=False) if file.is_file() else None


def _coloured(path: Path) -> dict[int, str]:
    """Return the name of each colour of a file with both in each line."""
    rows: dict[int, str] = {}
    for line in _lines(path):
        if line.startswith("#") and not re.match(r"#[0-9a-fA-F]{6}\b", line):
            continue  # a heading, as CVAT writes it
        colour, name = _colour(line)
        if colour is None:
            if not rows and not re.search(r"[0-9]", line):
                continue  # a heading such as name,r,g,b
            raise UsageError(f"{path}: expected a name and a colour such as 'road 128 64 128', received {line!r}")
        if colour in rows:
            raise UsageError(f"{path}: expected each colour once, received #{colour:06x} for {rows[colour]!r} and"
                             f" {name!r}")  # fmt: skip
        rows[colour] = name
    return rows


def _colour(line: str) -> tuple[int | None, str]:
    """Return the colour that a line names, None if it names none, and the other words of the line."""
    if found := re.search(r"#([0-9a-fA-F]{6})\b", line):
        return int(found[1], 16), _rest(line, found)
    found = re.search(r"(?<![\w.])(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})(?![\w.])", line)
    if found is None or max(map(int, found.groups())) > 255:
        return None, line
    red, green, blue = map(int, found.groups())
    return (red << 16) + (green << 8) + blue, _rest(line, found)


def _rest(line: str, found: re.Match) -> str:
    return (line[: found.start()] + " " + line[found.end() :]).strip(" \t,;:=\"'")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected a text file in UTF-8: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _checked(path: Path, rows: Mapping[int, str], colours: bool) -> Coding:
    """Return the classes of a file, without those whose name says that they are ignored."""
    kept = {number: name for number, name in rows.items() if name.lower() not in _VOID}
    names = tuple(kept.values())
    if not 2 <= len(names) <= MOST_CLASSES:
        raise UsageError(f"{path}: expected 2 to {MOST_CLASSES} classes, received {len(names)}")
    if twice := next((name for name in names if not name or names.count(name) > 1), None):
        raise UsageError(f"{path}: expected a name of its own for each class, received {twice!r} twice")
    ignored = tuple(number for number in rows if number not in kept)
    return Coding(names, tuple(kept), ignored, colours)
