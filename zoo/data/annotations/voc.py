"""Annotations in the layout of Pascal VOC: an XML file for each picture, and lists of the splits.

    DATA/Annotations/NAME.xml, DATA/JPEGImages/NAME.jpg, DATA/ImageSets/Main/train.txt, val.txt, test.txt

or XML files beside the pictures, in DATA or in DATA/train, DATA/valid and DATA/test.
"""

import math
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data.annotations.annotated import Annotated, Faults, Picture, pictures_by_stem
from zoo.data.sources.folders import SPLITS, visible_files

LAYOUT = "Pascal VOC"
SIDES = ("xmin", "ymin", "xmax", "ymax")
# Lists that join two others.
JOINED = {"trainval": ("train", "validation")}


def found_in(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return any(next(folder.glob("*.xml"), None) is not None for folder in _folders(root))


def read(root: Path) -> Annotated:
    """Return the annotated pictures of a folder.

    Args:
        root: Folder.

    Raises:
        UsageError: A list of a split that cannot be read, or that names what has no annotation.
    """
    faults, left_out, notes = Faults(), {}, []
    splits: dict[str, list[Path]] = {}
    for folder in _folders(root):
        split = SPLITS.get(folder.name.lower(), "all") if folder != root else "all"
        splits.setdefault(split, []).extend(visible_files(folder, (".xml",)))
    named: dict[str, str] = {}
    if set(splits) == {"all"} and (lists := _lists(root)):
        files = {file.stem: file for file in splits.pop("all")}
        used: set[str] = set()
        for split, path in lists.items():
            names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            if missing := [name for name in names if name not in files]:
                raise UsageError(f"{path}: expected names with an annotation, found none for {few(missing)}")
            splits[split] = [files[name] for name in names]
            named[split] = path.relative_to(root).as_posix()
            used |= set(names)
        if rest := len(files.keys() - used):
            left_out["in no list of ImageSets"] = rest
    places = [root / name for name in ("JPEGImages", "images", "Images")]
    pictures = pictures_by_stem([*places, *{file.parent for files in splits.values() for file in files}])
    made = {
        split: [one for file in files if (one := _picture(file, root, pictures, faults)) is not None]
        for split, files in splits.items()
    }
    known = {one.file for part in made.values() for one in part}
    names = {file.stem for part in splits.values() for file in part}
    if others := sum(path not in known and stem not in names for stem, path in pictures.items()):
        left_out["without an annotation"] = others - left_out.get("in no list of ImageSets", 0)
    classes = sorted({name for part in made.values() for one in part for name in one.classes})
    return Annotated(LAYOUT, made, tuple(classes), faults, Counter(left_out), notes, named)


def _folders(root: Path) -> list[Path]:
    """Return the folders that may hold XML files."""
    own = [root / "Annotations", root / "annotations", root]
    first = next((folder for folder in own if next(folder.glob("*.xml"), None) is not None), None)
    if first is not None:
        return [first]
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in SPLITS)


def _lists(root: Path) -> dict[str, Path]:
    """Return the list of each split, train, validation and test."""
    folder = root / "ImageSets" / "Main"
    files = visible_files(folder, (".txt",)) if folder.is_dir() else []
    found = {SPLITS[file.stem.lower()]: file for file in files if file.stem.lower() in SPLITS}
    for name, parts in JOINED.items():
        if (folder / f"{name}.txt").is_file() and not set(parts) & set(found):
            found["train"] = folder / f"{name}.txt"
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _picture(file: Path, root: Path, pictures: dict[str, Path], faults: Faults) -> Picture | None:
    name = file.relative_to(root).as_posix()
    try:
        tree = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        faults.add("annotations that are no XML", f"{name}: {error}")
        return None
    stated = Path((tree.findtext("filename") or "").replace("\\", "/")).stem
    path = pictures.get(file.stem) or pictures.get(stated)
    if path is None:
        faults.add("annotations without their picture", name)
        return None
    classes, boxes = [], []
    for one in tree.iter("object"):
        kind, sides = (one.findtext("name") or "").strip(), [_number(one.findtext(f"bndbox/{s}")) for s in SIDES]
        if not kind or None in sides:
            faults.add("objects without a class or a box", name)
            continue
        classes.append(kind)
        boxes.append(sides)
    size = tuple(_number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    known = all(side and math.isfinite(side) for side in size)  # some tools write 0 for a size that they do not know
    return Picture(
        path, tuple(classes), np.array(boxes, np.float64).reshape(-1, 4), size=tuple(map(int, size)) if known else None
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
