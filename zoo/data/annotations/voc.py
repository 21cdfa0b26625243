"""Annotations in the layout of Pascal VOC: an XML file for each picture, and lists of the splits.

    DATA/Annotations/NAME.xml, DATA/JPEGImages/NAME.jpg, DATA/ImageSets/Main/train.txt, val.txt, test.txt

or XML files beside the pictures, in DATA or in DATA/train, DATA/valid and DATA/test.

Coordinates are taken as written, although some tools count pixels from 1: a box from 1 to 64 loses a pixel at most.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data.annotations.annotated import Annotated, Faults, Picture, count_unread, text_of
from zoo.data.sources.folders import SPLITS, SUFFIXES, visible_files

LAYOUT = "Pascal VOC"
SIDES = ("xmin", "ymin", "xmax", "ymax")
ANNOTATIONS = ("Annotations", "annotations")
# Folders in which pictures are searched, after that of the XML file.
PICTURES = ("JPEGImages", "images", "Images")
# Folders of pictures that are masks.
MASKS = ("SegmentationClass", "SegmentationObject")
# Lists that join two others.
JOINED = {"trainval": ("train", "validation")}

# Pictures of each folder by their names without suffix.
Stems = dict[Path, dict[str, list[Path]]]


def found_in(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return next(_folders(root), None) is not None


def read(root: Path) -> Annotated:
    """Return the annotated pictures of a folder.

    Args:
        root: Folder.

    Raises:
        UsageError: XML files both in the folder and in those of splits, or a list of a split that cannot be read or
            that names what has no annotation.
    """
    faults, left_out, notes = Faults(), Counter(), []
    splits: dict[str, list[Path]] = {}
    for folder in _chosen(root, notes):
        split = SPLITS.get(folder.name.lower(), "all") if folder != root else "all"
        splits.setdefault(split, []).extend(visible_files(folder, (".xml",)))
    files = [file for part in splits.values() for file in part]
    named: dict[str, str] = {}
    if set(splits) == {"all"} and (lists := _lists(root)):
        splits = {split: _listed(path, {file.stem: file for file in files}) for split, path in lists.items()}
        named = {split: path.relative_to(root).as_posix() for split, path in lists.items()}
        left_out["in no list of ImageSets"] = len(set(files) - {file for part in splits.values() for file in part})
    stems = _stems([*{file.parent: None for file in files}, *(root / name for name in PICTURES)])
    renamed: list[str] = []
    made = {
        split: [one for file in part if (one := _picture(file, root, stems, faults, renamed)) is not None]
        for split, part in splits.items()
    }
    if renamed:
        notes.append(
            f"{len(renamed):,} XML files state another picture than that of their own name, which is read"
            f" ({few(renamed)})"
        )
    used = {one.file for part in made.values() for one in part}
    stems_used = {path.with_suffix("") for path in used}
    unused = [path for file in files for path in _pictures(file, "", stems) if path.with_suffix("") not in stems_used]
    left_out["without an annotation"] = count_unread(root, [*used, *unused], MASKS)
    classes = sorted({name for part in made.values() for one in part for name in one.classes})
    return Annotated(LAYOUT, made, tuple(classes), faults, +left_out, notes, named)


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders that hold XML files: Annotations, the folder itself, and those of splits."""
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    own = [path for path in inside if path.name in ANNOTATIONS]
    for folder in (*own, root, *(path for path in inside if path.name.lower() in SPLITS)):
        if visible_files(folder, (".xml",)):
            yield folder


def _chosen(root: Path, notes: list[str]) -> list[Path]:
    """Return the folders whose XML files are read."""
    folders = list(_folders(root))
    first, others = folders[0], folders[1:]
    if first != root and first.name in ANNOTATIONS:
        if others:
            names = ["the folder itself" if path == root else path.name for path in others]
            notes.append(f"the XML files in {few(names)} are not read, those in {first.name} are")
        return [first]
    if first == root and others:
        loose = [file.name for file in visible_files(root, (".xml",))]
        raise UsageError(
            f"{root}: expected XML files beside the pictures of {few([path.name for path in others])} alone, received"
            f" {few(loose)} beside these folders; move {'it' if len(loose) == 1 else 'them'} away"
        )
    return folders


def _lists(root: Path) -> dict[str, Path]:
    """Return the list of each split, train, validation and test."""
    folder = root / "ImageSets" / "Main"
    files = visible_files(folder, (".txt",)) if folder.is_dir() else []
    found = {SPLITS[file.stem.lower()]: file for file in files if file.stem.lower() in SPLITS}
    for name, parts in JOINED.items():
        if (folder / f"{name}.txt").is_file() and not set(parts) & set(found):
            found["train"] = folder / f"{name}.txt"
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _listed(path: Path, files: dict[str, Path]) -> list[Path]:
    """Return the XML files that a list names; a second word of a line tells whether the picture has a class."""
    lines = [line.strip() for line in text_of(path).splitlines() if line.strip()]
    names = [line if line in files else line.split()[0] for line in lines]
    if missing := [name for name in names if name not in files]:
        raise UsageError(f"{path}: expected names with an annotation, found none for {few(missing)}")
    return [files[name] for name in names]


def _stems(folders: list[Path]) -> Stems:
    found: Stems = {}
    for folder in filter(Path.is_dir, folders):
        found[folder] = {}
        for file in visible_files(folder, SUFFIXES):
            found[folder].setdefault(file.stem, []).append(file)
    return found


def _pictures(file: Path, stated: str, stems: Stems) -> list[Path]:
    """Return the picture of an XML file, or several among which nothing decides.

    It has the name of the XML file, otherwise the stated one. It lies beside it, otherwise in a folder of pictures.

    Args:
        file: XML file.
        stated: Name of the picture that the file states; it decides between suffixes.
        stems: Pictures of the folders.
    """
    for stem in (file.stem, PurePosixPath(stated).stem):
        for folder in (file.parent, *(folder for folder in stems if folder.name in PICTURES)):
            if found := stems.get(folder, {}).get(stem):
                return [path for path in found if path.name == stated] or found
    return []


def _picture(file: Path, root: Path, stems: Stems, faults: Faults, renamed: list[str]) -> Picture | None:
    name = file.relative_to(root).as_posix()
    try:
        tree = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        faults.add("annotations that are no XML", f"{name}: {error}")
        return None
    stated = PurePosixPath((tree.findtext("filename") or "").strip().replace("\\", "/")).name
    paths = _pictures(file, stated, stems)
    if not paths:
        faults.add("annotations without their picture", name)
        return None
    if len(paths) > 1:
        faults.add("annotations of several pictures", f"{name}: {', '.join(path.name for path in paths)}")
        return None
    (path,) = paths
    if path.name != stated and any(
        one.name == stated for one in stems[path.parent].get(PurePosixPath(stated).stem, [])
    ):
        renamed.append(name)
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
