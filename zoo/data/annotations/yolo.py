"""Annotations in the layout of YOLO: a text file for each picture, with a line for each object.

    DATA/data.yaml (names, train, val, test) or DATA/classes.txt; DATA/images/train/NAME.jpg and
    DATA/labels/train/NAME.txt, or DATA/train/images and DATA/train/labels, or images and labels alone

A line is the index of the class, then the centre, the width and the height of the box as shares of the picture's sides.
Keypoints may follow, which `kpt_shape` of data.yaml describes and which are not read. A polygon, which has more numbers
than a box, becomes the box around it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data.annotations.annotated import Annotated, Faults, Picture, count_unread, text_of
from zoo.data.sources.folders import SPLITS, SUFFIXES, pictures_below, visible_files

LAYOUT = "YOLO"
NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES = ("classes.txt", "obj.names", "labels/classes.txt")
# Keys of data.yaml for the pictures of a split.
KEYS = ("train", "val", "valid", "test")
# Coordinate above which a polygon is none: rounding leads a little beyond 1, keypoints have flags of 2.
FAR = 1.5
# Number of lines, all with a box around further points, from which on they are taken for keypoints and not for
# polygons. A single polygon may look like it by chance.
ENOUGH = 10


def found_in(root: Path) -> bool:
    """Return whether a folder has this layout."""
    if any((root / name).is_file() and "names" in _described(root / name) for name in NAMES):
        return True
    return any((root / name).is_file() for name in CLASSES) and bool(_usual(root))


def read(root: Path) -> Annotated:
    """Return the annotated pictures of a folder.

    Args:
        root: Folder.

    Raises:
        UsageError: Names of classes that cannot be read, a path of data.yaml without pictures, no pictures, no text
            file of any of them, or keypoints that data.yaml does not describe.
    """
    faults, notes = Faults(), []
    file = next((root / name for name in NAMES if (root / name).is_file()), None)
    described = _described(file) if file else {}
    names = _names(described["names"], file) if "names" in described else _lines(root)
    keypoints = _keypoints(described, file)
    folders = _splits(root, described, file, faults, notes)
    if not folders:
        raise UsageError(f"{root}: expected pictures in images/ and their text files in labels/, found none")
    labels = {path: _label(path, root) for part in folders.values() for path in part}
    if not any(label.is_file() for label in labels.values()):
        path, label = next(iter(labels.items()))
        raise UsageError(
            f"{root}: expected a text file for each picture that has objects, such as {label} for {path}, found none"
            f" for {len(labels):,} pictures"
        )
    lines: Counter[tuple[int, bool]] = Counter()
    splits = {
        split: [_picture(path, labels[path], names, keypoints, faults, lines) for path in part]
        for split, part in folders.items()
    }
    _tell_of_labels(labels, root, notes)
    if lines:
        _check_polygons(root, lines, "kpt_shape" in described, notes)
    seen = {name for part in splits.values() for one in part for name in one.classes}
    if unused := [name for name in names if name not in seen]:
        notes.append(f"{len(unused)} classes have no object and are left out ({', '.join(unused[:4])})")
    left_out = Counter({"outside of the folders that are read": count_unread(root, labels)})
    return Annotated(LAYOUT, splits, tuple(name for name in names if name in seen), faults, +left_out, notes)


def _described(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(text_of(file))
    except yaml.YAMLError as error:
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
    return _once([str(name).strip() for name in found], file)


def _lines(root: Path) -> list[str]:
    file = next(root / name for name in CLASSES if (root / name).is_file())
    names = [line.strip() for line in text_of(file).rstrip().splitlines()]
    if "" in names:  # whether it counts changes the classes of all lines below
        raise UsageError(f"{file}: expected the name of a class in each line, found line {names.index('') + 1} empty")
    return _once(names, file)


def _once(names: list[str], file: Path) -> list[str]:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"{file}: expected each class once, received {few([repr(name) for name in twice])} twice")
    return names


def _keypoints(described: dict[str, Any], file: Path | None) -> int:
    """Return how many numbers of keypoints follow a box; `kpt_shape` has the number of points and of values of each."""
    shape = described.get("kpt_shape")
    if shape is None:
        return 0
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise UsageError(f"{file}: kpt_shape: expected two numbers, as in [17, 3], received {shape!r}")
    return shape[0] * shape[1]


def _splits(
    root: Path, described: dict[str, Any], file: Path | None, faults: Faults, notes: list[str]
) -> dict[str, list[Path]]:
    """Return the pictures of each split, of those folders that data.yaml names, otherwise of those with usual names."""
    usual, found = _usual(root), {}
    base = str(described.get("path") or "")
    for key in KEYS:
        split, texts = SPLITS[key], described.get(key) or []
        own = usual.get(split) or (usual.get("all") if split == "train" else None)
        name = own.relative_to(root).as_posix() if own else ""
        for text in [texts] if isinstance(texts, str) else map(str, texts):
            if pictures := _listed(root, base, text, faults):
                found.setdefault(split, []).extend(pictures)
                if not pictures[0].resolve().is_relative_to(root.resolve()):
                    notes.append(f"{file.name} names {text} for {split}, which is not in {root}")
                continue
            elsewhere = _is_absolute(base) or _is_absolute(text)  # written on another machine
            drawn = ("validation", "test") if elsewhere else ("test",)  # exports name a test folder in any case
            if not (elsewhere if own else split in drawn):
                there = f"; {name} has {len(pictures_below(own)):,}" if own else ""
                out = "" if split == "train" else f", or remove the line to have {split} drawn"
                raise UsageError(
                    f"{file}: {key}: expected pictures in {text}, found none{there}; correct the path{out}"
                )
            instead = f"; {name} is read" if own else ""
            notes.append(f"{file.name} names {text} for {split}, where there are no pictures{instead}")
            if own:
                found[split] = pictures_below(own)
    return found or {split: pictures_below(folder) for split, folder in usual.items()}


def _is_absolute(text: str) -> bool:
    return PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def _usual(root: Path) -> dict[str, Path]:
    """Return the folder of each split by its usual names, images as "all" if there are none."""
    found = {}
    for name, split in SPLITS.items():
        for folder in (root / "images" / name, root / name / "images"):
            if folder.is_dir() and pictures_below(folder):
                found[split] = folder
    if not found and (root / "images").is_dir() and pictures_below(root / "images"):
        found["all"] = root / "images"
    return found


def _listed(root: Path, base: str, text: str, faults: Faults) -> list[Path]:
    """Return the pictures of a folder or of a list of pictures that data.yaml names.

    Args:
        root: Folder of data.yaml.
        base: The folder `path` of data.yaml.
        text: Folder or list.
        faults: Takes pictures of a list that are not there.
    """
    inside = root / text.replace("\\", "/").lstrip("./")  # exports name ../train/images for what is in their own folder
    outside = [inside] if text.startswith("..") else []
    for place in (root / base / text, *outside, root / text, Path(text), inside):
        if place.is_dir():
            images = place / "images"
            return pictures_below(images if images.is_dir() and not visible_files(place, SUFFIXES) else place)
        if place.suffix == ".txt" and place.is_file():
            found = []
            for line in filter(None, map(str.strip, text_of(place).splitlines())):
                tried = (root / line, place.parent / line, Path(line))
                path = next((path for path in tried if path.is_file()), None)
                if path is None:
                    faults.add("pictures of a list that are not there", f"{line} in {place.name}")
                else:
                    found.append(path)
            return found
    return []


def _label(picture: Path, root: Path) -> Path:
    """Return the text file of a picture: `labels` in place of the last `images` of its path in DATA, or beside it."""
    beside = picture.with_suffix(".txt")
    start, below = (root, beside.relative_to(root)) if beside.is_relative_to(root) else (Path(), beside)
    parts = list(below.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if not places:
        return beside
    parts[places[-1]] = "labels"
    usual = start / Path(*parts)
    return beside if beside.is_file() and not usual.is_file() else usual


def _tell_of_labels(labels: dict[Path, Path], root: Path, notes: list[str]) -> None:
    """Note pictures without a text file, those that share one, and text files without a picture."""
    if empty := sum(not label.is_file() for label in labels.values()):
        notes.append(f"{empty:,} pictures have no text file in labels and count as pictures without objects")
    shared = [label for label, count in Counter(labels.values()).items() if count > 1 and label.is_file()]
    if shared:
        notes.append(
            f"{len(shared):,} text files are of several pictures, which share their objects ({shared[0].name})"
        )
    folders = {label.parent for path, label in labels.items() if label.parent != path.parent}
    folders = {folder for folder in folders if folder.is_dir()}
    texts = {file for folder in folders for file in visible_files(folder, (".txt",)) if file.name != "classes.txt"}
    if alone := texts - set(labels.values()):
        alone -= {_label(path, root) for path in pictures_below(root)}
    if alone:
        notes.append(f"{len(alone):,} text files have no picture and are not read ({min(alone).name})")


def _check_polygons(root: Path, lines: Counter[tuple[int, bool]], known: bool, notes: list[str]) -> None:
    """Note how many polygons became boxes; raise UsageError if they look like a box and keypoints.

    Args:
        root: Folder.
        lines: How many polygons have a number of values and look like a box and keypoints, or do not.
        known: Whether data.yaml has `kpt_shape`, which is null for polygons.
        notes: Takes the note.
    """
    count = lines.total()
    ((length, alike), _), *others = lines.items()
    if alike and not others and not known and count >= ENOUGH:
        raise UsageError(
            f"{root}: expected boxes or polygons, received {count:,} lines of {length} numbers after the class that"
            " look like a box and keypoints; give kpt_shape in data.yaml, such as [17, 3], or null for polygons"
        )
    notes.append(f"{count:,} polygons became the boxes around them")


def _like_keypoints(numbers: Sequence[float]) -> bool:
    """Return whether numbers could be a box, by centre and size, and points in it with or without a flag of each."""
    (x, y, width, height), rest = numbers[:4], numbers[4:]
    for values in (2, 3):
        if len(rest) % values == 0:
            points = zip(rest[::values], rest[1::values], strict=True)
            if all(abs(a - x) <= width / 2 and abs(b - y) <= height / 2 for a, b in points if a or b):
                return True
    return False


def _picture(
    path: Path,
    label: Path,
    names: list[str],
    keypoints: int,
    faults: Faults,
    polygons: Counter[tuple[int, bool]],
) -> Picture:
    """Return a picture and its objects.

    Args:
        path: Picture.
        label: Its text file; a picture without objects has none, or an empty one.
        names: Names of the classes.
        keypoints: How many numbers of keypoints follow a box.
        faults: Takes the faults.
        polygons: Takes how many polygons have a number of values and look like a box and keypoints, or do not.
    """
    classes, boxes = [], []
    try:
        lines = label.read_text(encoding="utf-8-sig").splitlines() if label.is_file() else []
    except ValueError:
        faults.add("text files that are not in UTF-8", label.name)
        lines = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{label.name}, line {number}"
        try:
            kind, *numbers = map(float, words)
        except ValueError:
            kind, numbers = math.nan, []
        if not all(map(math.isfinite, (kind, *numbers))):
            faults.add("lines that are no numbers", where)
            continue
        is_box = len(numbers) == 4 or (keypoints and len(numbers) == 4 + keypoints)
        if not is_box and (keypoints or len(numbers) < 6 or len(numbers) % 2):
            faults.add("lines that are neither a box nor a polygon", f"{where}: {len(numbers)} numbers after the class")
        elif not kind.is_integer():
            faults.add("lines whose class is no whole number", f"class {words[0]} in {where}")
        elif not 0 <= kind < len(names):
            faults.add("boxes of an unknown class", f"class {int(kind)} in {where}")
        elif not is_box and max(numbers) > FAR:
            faults.add("polygons in pixels, or keypoints without kpt_shape in data.yaml", where)
        else:
            if is_box:
                x, y, width, height = numbers[:4]
                box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            else:
                polygons[len(numbers), _like_keypoints(numbers)] += 1
                box = [min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])]
            classes.append(names[int(kind)])
            boxes.append(box)
    return Picture(path, tuple(classes), np.array(boxes, np.float64).reshape(-1, 4), shares=True)
