"""Annotations in the layout of YOLO: a text file for each picture, with a line for each object.

    DATA/data.yaml (names, train, val, test) or DATA/classes.txt; DATA/images/train/NAME.jpg and
    DATA/labels/train/NAME.txt, or DATA/train/images and DATA/train/labels, or images and labels alone

A line is the index of the class, then the centre, the width and the height of the box as shares of the picture's sides;
a polygon, which has more numbers, becomes the box around it.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.errors import UsageError
from zoo.data.annotations.annotated import Annotated, Faults, Picture
from zoo.data.sources.folders import SPLITS, SUFFIXES, visible_files

LAYOUT = "YOLO"
NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES = ("classes.txt", "obj.names", "labels/classes.txt")


def found_in(root: Path) -> bool:
    """Return whether a folder has this layout."""
    if any((root / name).is_file() and "names" in _described(root / name) for name in NAMES):
        return True
    return any((root / name).is_file() for name in CLASSES) and bool(_folders(root, {}))


def read(root: Path) -> Annotated:
    """Return the annotated pictures of a folder.

    Args:
        root: Folder.

    Raises:
        UsageError: Names of classes that cannot be read, or no pictures.
    """
    faults, left_out, notes = Faults(), Counter(), []
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    described = _described(file) if file else {}
    names = _names(described["names"], file) if "names" in described else _lines(root)
    folders = _folders(root, described)
    if not folders:
        raise UsageError(f"{root}: expected pictures in images/ and their text files in labels/, found none")
    splits: dict[str, list[Picture]] = {}
    empty = 0
    for split, pictures in folders.items():
        splits[split] = []
        for path in pictures:
            label = _label(path)
            if not label.is_file():  # a picture without objects has no file, or an empty one
                empty += 1
                splits[split].append(Picture(path, (), np.zeros((0, 4)), shares=True))
            else:
                splits[split].append(_picture(path, label, names, faults))
    if empty:
        notes.append(f"{empty:,} pictures have no text file in labels and count as pictures without objects")
    seen = {name for part in splits.values() for one in part for name in one.classes}
    if unused := [name for name in names if name not in seen]:
        notes.append(f"{len(unused)} classes have no object and are left out ({', '.join(unused[:4])})")
    return Annotated(LAYOUT, splits, tuple(name for name in names if name in seen), faults, left_out, notes)


def _described(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: expected a YAML file with names: {' '.join(str(error).split())[:200]}") from None
    return found if isinstance(found, dict) else {}


def _names(found: Any, file: Path) -> list[str]:
    """Return the names of the classes, a list or a mapping from the indices."""
    if isinstance(found, dict):
        if sorted(found) != list(range(len(found))):
            raise UsageError(f"{file}: names: expected indices from 0 without gaps, received {sorted(found)[:8]}")
        found = [found[i] for i in range(len(found))]
    if not isinstance(found, list) or not found:
        raise UsageError(f"{file}: names: expected a list of the classes, received {type(found).__name__}")
    return [str(name).strip() for name in found]


def _lines(root: Path) -> list[str]:
    file = next(root / name for name in CLASSES if (root / name).is_file())
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _folders(root: Path, described: dict[str, Any]) -> dict[str, list[Path]]:
    """Return the pictures of each split."""
    found: dict[str, list[Path]] = {}
    for key in ("train", "val", "valid", "test"):
        for text in [described.get(key)] if isinstance(described.get(key), str) else described.get(key) or []:
            if pictures := _listed(root, described, str(text)):
                found.setdefault(SPLITS[key], []).extend(pictures)
    if found:
        return found
    for name, split in SPLITS.items():
        for folder in (root / "images" / name, root / name / "images"):
            if folder.is_dir() and (pictures := visible_files(folder, SUFFIXES)):
                found[split] = pictures
    if not found and (root / "images").is_dir() and (pictures := visible_files(root / "images", SUFFIXES)):
        found["all"] = pictures
    return found


def _listed(root: Path, described: dict[str, Any], text: str) -> list[Path]:
    """Return the pictures of a folder or of a list of pictures that data.yaml names, wherever it was written."""
    base = Path(str(described.get("path") or ""))
    tried = [root / base / text, root / text, Path(text), root / text.replace("\\", "/").lstrip("./")]
    for place in tried:
        if place.is_dir():
            inside = visible_files(place, SUFFIXES)
            return inside or (visible_files(place / "images", SUFFIXES) if (place / "images").is_dir() else [])
        if place.suffix == ".txt" and place.is_file():
            lines = [line.strip() for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
            return [path for line in lines if (path := _existing(root / line.removeprefix("./"), Path(line)))]
    return []


def _existing(*places: Path) -> Path | None:
    return next((place for place in places if place.is_file()), None)


def _label(picture: Path) -> Path:
    """Return the text file of a picture: `labels` in place of the last `images` of its path, or beside it."""
    parts = list(picture.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _picture(path: Path, label: Path, names: list[str], faults: Faults) -> Picture:
    classes, boxes = [], []
    for number, line in enumerate(label.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{label.name}, line {number}"
        try:
            kind, numbers = int(float(words[0])), [float(word) for word in words[1:]]
        except ValueError:
            faults.add("lines that are no numbers", where)
            continue
        if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
            faults.add("lines that are neither a box nor a polygon", where)
            continue
        if not 0 <= kind < len(names):
            faults.add("boxes of an unknown class", f"class {kind} in {where}")
            continue
        if len(numbers) == 4:
            x, y, width, height = numbers
            box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        else:
            box = [min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])]
        classes.append(names[kind])
        boxes.append(box)
    return Picture(path, tuple(classes), np.array(boxes, np.float64).reshape(-1, 4), shares=True)
