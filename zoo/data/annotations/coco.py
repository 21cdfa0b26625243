"""Annotations in the layout of COCO: a JSON file of images, annotations and categories for each split.

DATA/annotations/instances_train.json and DATA/train/NAME.jpg, or DATA/train/_annotations.coco.json beside its
pictures, or one file in DATA
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.documents import from_json
from zoo.console.errors import UsageError, few
from zoo.data.annotations.annotated import Annotated, Faults, Picture, count_unread
from zoo.data.sources.folders import SPLITS, visible_files

LAYOUT = "COCO"
KEYS = ("images", "annotations", "categories")
# Folders in which pictures are searched, beside the folder of the file; {split} is its name in the file's. Those of a
# split are first, because the pictures of several splits may have equal names.
PICTURES = ("{split}", "images/{split}", "{word}", "images/{word}", "", "images")
# Number of boxes from which on it is told that they look like corners.
ENOUGH = 10
_WORD = re.compile(r"[a-z]+")


def found_in(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return any(_is_coco(file) for file in _files(root))


def read(root: Path) -> Annotated:
    """Return the annotated pictures of a folder.

    Args:
        root: Folder.

    Raises:
        UsageError: Two files for one split, a file that is damaged, or an id of two pictures or categories.
    """
    faults, notes, named = Faults(), [], {}
    splits: dict[str, list[Picture]] = {}
    names: dict[str, None] = {}
    crowds = 0
    for file in filter(_is_coco, _files(root)):
        split = _split(file, root)
        if split in splits:
            raise UsageError(
                f"{root}: expected one file of COCO for a split, received a second one for {split}: {file}"
            )
        content = from_json(file.read_bytes(), str(file))
        splits[split], known, crowd = _pictures(content, file, root, faults)
        if same := [name for name, count in Counter(known).items() if count > 1]:
            notes.append(f"{file.name} has several categories called {few(same)}, which are one class")
        names |= dict.fromkeys(known)
        crowds += crowd
        named[split] = file.relative_to(root).as_posix()
    left = [name for name in names if not any(name in one.classes for part in splits.values() for one in part)]
    if left:  # exports often begin with a class that stands for all others
        notes.append(f"{len(left)} categories have no object and are left out ({', '.join(left[:4])})")
    if crowds:
        notes.append(f"{crowds:,} boxes around crowds (iscrowd) are left out")
    if set(splits) > {"all"}:
        raise UsageError(f"{root}: expected files of COCO for train, val and test, found {named['all']} beside them")
    classes = tuple(sorted(name for name in names if name not in left))
    found = [one for part in splits.values() for one in part]
    if _look_like_corners(found):
        notes.append("the boxes may be corners, x1 y1 x2 y2; they are read as x, y, width and height, as COCO has them")
    left_out = Counter({"that no file of COCO names": count_unread(root, [one.file for one in found])})
    return Annotated(LAYOUT, splits, classes, faults, +left_out, notes, named if set(splits) != {"all"} else {})


def _files(root: Path) -> list[Path]:
    folders = [root, root / "annotations", root / "Annotations", root / "labels"]
    folders += [path for path in sorted(root.iterdir()) if path.is_dir() and path.name.lower() in SPLITS]
    return [file for folder in folders if folder.is_dir() for file in visible_files(folder, (".json",))]


def _is_coco(file: Path) -> bool:
    """Return whether a JSON file has the keys of COCO; other files may be of any size and are not read whole."""
    with file.open("rb") as stream:
        head = stream.read(1 << 16)
        if not head.lstrip().startswith(b"{"):
            return False
        found = sum(f'"{key}"'.encode() in head for key in KEYS)
        if not found:
            return False
        content = head + stream.read()
    return all(f'"{key}"'.encode() in content for key in KEYS)


def _split(file: Path, root: Path) -> str:
    """Return the split that a file is for, by its name or that of its folder."""
    if file.parent != root and file.parent.name.lower() in SPLITS:
        return SPLITS[file.parent.name.lower()]
    words = [word for word in _WORD.findall(file.stem.lower()) if word in SPLITS]
    return SPLITS[words[-1]] if words else "all"


def _pictures(content: Any, file: Path, root: Path, faults: Faults) -> tuple[list[Picture], list[str], int]:
    """Return the pictures of a file, the names of its categories, and the number of boxes around crowds."""
    try:
        categories = _by_id(
            file, "categories", [(row["id"], str(row["name"]).strip()) for row in content["categories"]]
        )
        names = _by_id(file, "images", [(row["id"], row["file_name"]) for row in content["images"]])
        rows: dict[Any, list[Any]] = {key: [] for key in names}
        crowds = 0
        for row in content["annotations"]:
            if row.get("iscrowd"):
                crowds += 1
            elif row["image_id"] not in rows:
                faults.add("boxes of an unknown picture", f"annotation {row.get('id')} in {file.name}")
            elif row["category_id"] not in categories:
                faults.add("boxes of an unknown class", f"category {row['category_id']} in {file.name}")
            elif len(row.get("bbox") or ()) != 4:
                faults.add("objects without a class or a box", f"annotation {row.get('id')} in {file.name}")
            else:
                rows[row["image_id"]].append((categories[row["category_id"]], [float(v) for v in row["bbox"]]))
        images = {row["id"]: row for row in content["images"]}
        found = [_picture(row, rows[key], file, root, faults) for key, row in images.items()]
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{file}: expected images, annotations and categories of COCO, found {type(error).__name__}: {error}"
        ) from None
    return [one for one in found if one is not None], list(categories.values()), crowds


def _look_like_corners(pictures: list[Picture]) -> bool:
    """Return whether boxes look like corners that were taken for a corner and two sides.

    All sides are then longer than the way to the corner, which is true of boxes of whole pictures as well, and some
    boxes reach far beyond their pictures.
    """
    known = [one for one in pictures if one.size and one.classes]
    if sum(len(one.classes) for one in known) < ENOUGH:
        return False
    boxes = np.concatenate([one.boxes for one in known])
    ends = np.concatenate([np.tile(one.size, (len(one.classes), 1)) for one in known])
    longer = boxes[:, 2:] > 2 * boxes[:, :2]
    return bool(longer.all() and (boxes[:, 2:] > 1.1 * ends).any())


def _by_id(file: Path, what: str, rows: list[tuple[Any, str]]) -> dict[Any, str]:
    """Return names by their ids."""
    found: dict[Any, str] = {}
    for key, name in rows:
        if found.setdefault(key, name) != name:
            raise UsageError(
                f"{file}: {what}: expected an id of each, received {key!r} for {found[key]!r} and {name!r}"
            )
    return found


def _picture(row: Any, objects: list[Any], file: Path, root: Path, faults: Faults) -> Picture | None:
    word = next((w for w in reversed(_WORD.findall(file.stem.lower())) if w in SPLITS), "")
    own = [part for part in re.split(r"[_\-.]", file.stem) if word and part.lower().startswith(word)]
    folders = [p.format(split=own[-1] if own else "", word=word) for p in PICTURES]
    places = [start / folder / row["file_name"] for start in (file.parent, root) for folder in folders]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        faults.add("annotations without their picture", row["file_name"])
        return None
    boxes = np.array([box for _, box in objects], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    size = (int(row["width"]), int(row["height"])) if row.get("width") and row.get("height") else None
    return Picture(path, tuple(name for name, _ in objects), boxes, size=size)
