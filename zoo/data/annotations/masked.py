"""Pictures with a mask each: which file belongs to which, and to which split.

Splits may lie above (`train/images`, `train/masks`) or below (`images/train`, `masks/train`). A mask has the name of
its picture, but for its ending and a usual end such as `_mask`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.config.masks import IMAGES, MASKS, part
from zoo.console.errors import UsageError, few
from zoo.data.images import is_picture
from zoo.data.reading import Tally
from zoo.data.sources.folders import SPLITS, SUFFIXES
from zoo.data.stored.files import Files
from zoo.system.files import is_hidden

# Ends of the names of pictures and of masks that are not compared, those of Cityscapes and CamVid among them.
_OF_PICTURE = re.compile(r"(_leftImg8bit|[_-](image|img|rgb))$", re.IGNORECASE)
_OF_MASK = re.compile(
    r"(_gtFine_label(Train)?Ids|_L|[_-](masks?|labels?|seg|segmentation|gt|groundtruth|annotation))$", re.IGNORECASE
)
# Reasons why a picture or a mask is left out; the number of each is told.
NO_MASK, NO_PICTURE = "pictures without a mask", "masks without a picture"


@dataclass(frozen=True)
class Pairs:
    """Pictures and masks of a split, in the same order."""

    pictures: Files
    masks: Files

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, places: np.ndarray) -> "Pairs":
        both = (self.pictures, self.masks)
        return Pairs(*(Files(files.root, [files.path(int(place)) for place in places]) for files in both))


def listed(root: Path, tally: Tally, faults: dict[str, str]) -> dict[str, Pairs]:
    """Return the pairs of each split, {"all": ...} if the folder has no splits.

    Args:
        root: Folder of the data.
        tally: Takes what is left out.
        faults: Takes the reason by the name of each picture or mask without the other.

    Raises:
        UsageError: No folders of pictures and masks, two folders or masks for one purpose, or no pairs.
    """
    places = _places(root, tally)
    found = {split: _paired(root, *folders, tally, faults) for split, folders in places.items()}
    if empty := next((split for split, pairs in found.items() if not len(pairs)), None):
        images, masks = places[empty]
        counts = ", ".join(f"{count:,} {reason}" for reason, count in tally.left_out.items())
        raise UsageError(f"{root}: expected pictures in {images} with masks of the same names in {masks}, found"
                         f" {counts or 'no files'}")  # fmt: skip
    return found


def _places(root: Path, tally: Tally) -> dict[str, tuple[Path, Path]]:
    """Return the folders of pictures and masks of each split, {"all": ...} if the folder has no splits."""
    images, masks = part(root, IMAGES), part(root, MASKS)
    if images and masks:
        if halves := [folder for folder in _splits(root).values() if part(folder, IMAGES) or part(folder, MASKS)]:
            raise UsageError(
                f"{root}: expected the folders images and masks, or a folder for each split with both in it, received"
                f" both, with {few([folder.name for folder in halves])}; move the training pictures and masks to train"
            )
        inside = _splits(images)
        if not inside:
            return {"all": (images, masks)}
        _check_apart(images, inside)
        _check_apart(masks, inside)
        named = {split: (folder, _splits(masks).get(split, masks / folder.name)) for split, folder in inside.items()}
    else:
        inside = _splits(root)
        named = {split: _both(folder) for split, folder in inside.items()}
        _check_others(root, inside, tally)
    if "train" not in named:
        raise UsageError(f"{root}: expected a split train among {few(list(named))}; rename a folder")
    missing = next((masks for _, masks in named.values() if not masks.is_dir()), None)
    if missing is not None:
        raise UsageError(f"{missing}: expected a folder of masks, as there are pictures for it; found none")
    tally.made |= {split: f"folder {folder.name}" for split, folder in inside.items() if folder.name != split}
    return named


def _both(folder: Path) -> tuple[Path, Path]:
    """Return the folders of pictures and of masks of a split."""
    images, masks = part(folder, IMAGES), part(folder, MASKS)
    if images is None or masks is None:
        found = few([repr(inside.name) for inside in _folders(folder)])
        raise UsageError(
            f"{folder}: expected the folders images and masks, as this is the name of a split, received"
            f" {found or 'none'}; rename them, or move {folder.name} away"
        )
    return images, masks


def _check_apart(folder: Path, inside: dict[str, Path]) -> None:
    """Raise UsageError for what lies beside the folders of splits in the folder of all pictures, or of all masks."""
    others = [repr(path.name) for path in _folders(folder) if SPLITS.get(path.name.lower()) not in inside]
    loose = sum(_is_picture(path) for path in _files(folder, deep=False))
    if others or loose:
        received = few(others) if others else f"{loose:,} pictures"
        raise UsageError(
            f"{folder}: expected nothing beside the folders of splits {few([p.name for p in inside.values()])},"
            f" received {received}; move them into one of these, or away"
        )


def _check_others(root: Path, inside: dict[str, Path], tally: Tally) -> None:
    """Raise UsageError for pictures and masks beside the folders of splits; other folders are told."""
    others = [path for path in _folders(root) if path.name.lower() not in SPLITS]
    if strange := [repr(path.name) for path in others if part(path, IMAGES) or part(path, MASKS)]:
        raise UsageError(
            f"{root}: expected train, validation and test beside {few([path.name for path in inside.values()])},"
            f" received {few(strange)}, which are no splits; rename them, or move them away"
        )
    if others:
        names = few([path.name for path in others])
        tally.notes.append(f"{names} beside the folders of splits {'is' if len(others) == 1 else 'are'} not read")


def _splits(folder: Path) -> dict[str, Path]:
    """Return the folders inside a folder that are called as splits, by split."""
    named: dict[str, Path] = {}
    for path in _folders(folder):
        if split := SPLITS.get(path.name.lower()):
            if split in named:
                raise UsageError(
                    f"{folder}: expected one folder for a split, received {named[split].name!r} and {path.name!r} for"
                    f" {split}; merge them, or move one away"
                )
            named[split] = path
    return named


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _files(folder: Path, deep: bool = True) -> Iterator[Path]:
    """Yield the files of a folder, and of folders inside it, without hidden ones."""
    for place, inside, names in os.walk(folder, followlinks=True):
        inside[:] = sorted(name for name in inside if not is_hidden(name)) if deep else []
        yield from (Path(place, name) for name in sorted(names) if not is_hidden(name))


def _paired(root: Path, images: Path, masks: Path, tally: Tally, faults: dict[str, str]) -> Pairs:
    """Return pictures and masks with the same name; those without the other are counted."""
    pictures, other = _by_key(images, _OF_PICTURE, tally), _by_key(masks, _OF_MASK, tally)
    both = [key for key in pictures if key in other]
    for what, alone in ((NO_MASK, pictures), (NO_PICTURE, other)):
        lonely = [path for key, path in alone.items() if key not in pictures or key not in other]
        tally.left_out[what] += len(lonely)
        faults |= {str(path.relative_to(root)): what.partition(" ")[2] for path in lonely}
    ends = Counter(other[key].stem.removeprefix(pictures[key].stem) for key in both)
    if end := next((end for end, _ in ends.most_common(1) if end), ""):
        note = f"masks are called as their pictures with the end {end}"
        tally.notes += [] if note in tally.notes else [note]
    return Pairs(Files(root, [pictures[key] for key in both]), Files(root, [other[key] for key in both]))


def _by_key(folder: Path, end: re.Pattern, tally: Tally) -> dict[tuple[str, str], Path]:
    """Return the pictures below a folder by their folder and their name without a usual end.

    Raises:
        UsageError: Two files with one name.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in _files(folder):
        if not _is_picture(path):
            tally.left_out[f"no picture ({path.suffix.lower() or 'no suffix'})"] += 1
            continue
        key = str(path.parent.relative_to(folder)), end.sub("", path.stem)
        if key in found:
            raise UsageError(f"{folder}: expected one file of each name, received {found[key].name} and {path.name}")
        found[key] = path
    return found


def _is_picture(path: Path) -> bool:
    """Return whether a file is taken for a picture: by its suffix, otherwise by its content."""
    return path.suffix.lower() in SUFFIXES or is_picture(path)
