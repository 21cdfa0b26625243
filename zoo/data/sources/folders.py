"""Folders of pictures or sounds by class: what is found in them, and what is left out and why."""

import collections
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from zoo.config.task_facts import SPLITS, TABLES, TEXT
from zoo.console.errors import UsageError, few
from zoo.data.images import is_picture
from zoo.data.reading import Tally
from zoo.data.sound import formats, noise
from zoo.system.files import is_hidden

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# Number of files by whose suffixes a folder is taken for one of pictures or of sounds.
LOOKED_AT = 1000
# Where texts are read from, for a folder that has some in the place of pictures.
_OF_TEXTS = (
    f"; texts with classes are read from a table ({', '.join(TABLES)}) with the columns text and label, and texts of a"
    f" language model from {TEXT} files without folders"
)
# What a name is cut into when it is searched for the name of a split: training_set, my-test.
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Medium:
    """What the examples of a folder are.

    Args:
        unit: Their name in the plural, for the record of what was read.
        noun: Their name in messages about a class that has none.
        none: What other files are, for the record.
        suffixes: Usual ends of their names.
        is_one: Whether a file of another name is one of them, by its first bytes.
        aside: Names of folders beside the classes that are no class.
    """

    unit: str
    noun: str
    none: str
    suffixes: tuple[str, ...]
    is_one: Callable[[Path], bool]
    aside: tuple[str, ...] = ()


PICTURES = Medium("pictures", "images", "no picture", SUFFIXES, is_picture)
SOUNDS = Medium("sounds", "sounds", "no sound", formats.SUFFIXES, formats.is_sound, (noise.FOLDER,))


def medium_of(root: Path) -> Medium:
    """Return what most files below a folder are by their suffixes, pictures if there are none of either."""
    counts = dict.fromkeys((PICTURES, SOUNDS), 0)
    for _, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        for medium in counts:
            counts[medium] += sum(PurePath(name).suffix.lower() in medium.suffixes for name in files)
        if sum(counts.values()) > LOOKED_AT:
            break
    return max(counts, key=counts.__getitem__)


@dataclass
class Listing:
    """The pictures or sounds of a folder.

    Args:
        medium: What the examples are.
        files: (file, class name) of each example by split, with a single split "all" if the folder has no splits.
        classes: Names of the classes.
        named: Name of the folder of each split.
        left_out: Number of files that are not used, by reason.
        notes: Sentences about what was assumed.
    """

    medium: Medium = PICTURES
    files: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def count_into(self, tally: Tally) -> None:
        """Add what was counted to the tally of the data set."""
        tally.unit = self.medium.unit
        tally.left_out.update(self.left_out)
        tally.notes += self.notes
        tally.made |= {split: f"folder {name}" for split, name in self.named.items() if name != split}


def listed(root: Path, medium: Medium = PICTURES, one_class: bool = False) -> Listing:
    """List the pictures or sounds of a folder by split and class.

    Left out are what is hidden (`zoo.system.files.is_hidden`), files that are no examples by their content, whatever
    they are named, and examples outside the folders of classes. Linked folders are followed, but not in circles.

    Args:
        root: Folder with one subfolder per class, or with folders train, validation and test that have them.
        medium: What the examples are.
        one_class: Whether a single class is enough to learn from, and others may be in other splits than train.

    Raises:
        UsageError: Two folders for one split, a folder beside train that is no split, fewer than two classes, a class
            without examples, a class that is missing from the training split, or a name that is no UTF-8.
    """
    found = Listing(medium)
    by_split = _splits(root, found)
    if by_split != {"all": root}:
        _count_loose(root, found)
    for split, folder in by_split.items():
        _count_loose(folder, found)
        folders = _folders(folder, medium)
        if not folders and split not in ("all", "train"):
            raise UsageError(f"{folder}: expected a folder for each class, received none")
        found.files[split] = []
        for path in folders:
            name = class_name(path)
            status, before = path.stat(), found.left_out.copy()
            paths = _examples(str(path), {(status.st_dev, status.st_ino)}, found)
            files = [Path(text) for text in sorted(paths, key=lambda text: text.split("/"))]
            if not files:
                left_out = found.left_out - before
                other = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
                raise UsageError(
                    f"class {name!r} has no {medium.noun}: expected {', '.join(medium.suffixes[:4])}, ... files in"
                    f" {path}, found {other or 'none'}" + (_OF_TEXTS if f"{medium.none} ({TEXT})" in left_out else "")
                )
            found.files[split] += [(file, name) for file in files]
        if len({class_name(path) for path in folders}) < len(folders):
            found.notes.append(f"{folder} has folders whose names differ in Unicode's form alone: each is one class")
        if one_class or split in ("all", "train"):
            found.classes = sorted({*found.classes, *map(class_name, folders)})
    _check(root, found, 1 if one_class else 2)
    return found


def class_name(path: Path) -> str:
    """Return the name of a class by its folder, in Unicode's composed form (NFC).

    Raises:
        UsageError: A name that is no UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"class folder {os.fsencode(path.name)!r}: expected a name in UTF-8, received other bytes; rename it"
        ) from None
    return unicodedata.normalize("NFC", path.name)


def _splits(root: Path, found: Listing) -> dict[str, Path]:
    """Return the folder of each split, {"all": root} if the folder has none."""
    folders = _folders(root, found.medium)
    named: dict[str, Path] = {}
    twice: tuple[Path, Path] | None = None
    others = []
    for path in folders:
        split = SPLITS.get(path.name.lower())
        if split is None:
            others.append(path)
        elif split in named:
            twice = named[split], path
        else:
            named[split] = path
    _check_renamed(root, folders, found.medium)
    first = named.get("train", next(iter(named.values()), root))
    if not named or (_holds_any(first, found.medium) and _are_classes(folders, found.medium)):
        return {"all": root}
    if twice:
        raise UsageError(
            f"{root}: expected one folder for a split, received {twice[0].name!r} and {twice[1].name!r} for"
            f" {SPLITS[twice[0].name.lower()]}; merge them, or move one away"
        )
    if "train" not in named:
        raise UsageError(
            f"{root}: expected a folder 'train' beside {few(sorted(repr(p.name) for p in named.values()))}, received"
            f" {few([repr(p.name) for p in others]) if others else 'none'}"
        )
    if others:
        raise UsageError(
            f"{root}: expected train, validation and test beside {named['train'].name!r}, received"
            f" {few([repr(p.name) for p in others])}, which are no splits; rename them, or move them away"
        )
    found.named = {split: path.name for split, path in named.items()}
    return named


def _check_renamed(root: Path, folders: list[Path], medium: Medium) -> None:
    """Raise UsageError for folders of splits under other names: training_set and test_set with the same classes."""
    alike = collections.defaultdict(list)
    for path in folders:
        inside = tuple(p.name for p in _folders(path, medium))
        if path.name.lower() not in SPLITS and len(inside) > 1 and not _holds_any(path, medium):
            alike[inside].append(path.name)
    for inside, names in alike.items():
        if len(names) > 1 and any(SPLITS.keys() & set(_WORD.findall(name.lower())) for name in names):
            raise UsageError(
                f"{root}: expected the folders train, validation and test, received {few(names)} with"
                f" {few(list(inside))} in each; rename them"
            )


def _are_classes(folders: list[Path], medium: Medium) -> bool:
    """Return whether folders, of which one is called train and holds examples, are classes and not splits.

    They are if all of them hold examples themselves, or if one does that has no name of a split.
    """
    return all(_holds_any(path, medium) for path in folders) or any(
        _holds_any(path, medium) and path.name.lower() not in SPLITS for path in folders
    )


def _folders(path: Path, medium: Medium) -> list[Path]:
    """Return the folders in a folder, linked ones too, without hidden ones and those that are no class."""
    return [
        Path(entry)
        for entry in _entries(path)
        if entry.is_dir() and not is_hidden(entry.name) and entry.name not in medium.aside
    ]


def _holds_any(path: Path, medium: Medium) -> bool:
    """Return whether an example lies directly in a folder."""
    return any(_is_one(p, medium) for p in _entries(path) if not is_hidden(p.name) and not p.is_dir())


def _is_one(entry: os.DirEntry, medium: Medium) -> bool:
    """Return whether a file is taken for an example: by its suffix, otherwise by its content.

    One with a known suffix that cannot be read, or a link to nothing, is reported when it is decoded.
    """
    if not entry.is_file() and not (entry.is_symlink() and not Path(entry).exists()):
        return False  # a pipe or a device
    return PurePath(entry.name).suffix.lower() in medium.suffixes or medium.is_one(Path(entry))


def _examples(folder: str, seen: set[tuple[int, int]], found: Listing) -> Iterator[str]:
    """Yield the examples below a folder, and count the files that are left out.

    Args:
        folder: Folder.
        seen: Device and inode of each folder that was read.
        found: Takes the counts.
    """
    for entry in _entries(folder):
        if entry.is_dir():
            status = entry.stat()
            if is_hidden(entry.name):
                found.left_out["hidden"] += sum(len(inside) for _, _, inside in os.walk(entry))
            elif (key := (status.st_dev, status.st_ino)) in seen:
                found.notes.append(f"{entry.path} links to a folder that was read already, and is left out")
            else:
                seen.add(key)
                yield from _examples(entry.path, seen, found)
        elif is_hidden(entry.name):
            found.left_out["hidden"] += 1
        elif _is_one(entry, found.medium):
            yield entry.path
        else:
            found.left_out[f"{found.medium.none} ({PurePath(entry.name).suffix.lower() or 'no suffix'})"] += 1


def _entries(folder: Path | str) -> list[os.DirEntry]:
    """Return what lies in a folder, by name."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror or error}") from None


def _count_loose(folder: Path, found: Listing) -> None:
    """Count the files that lie beside the folders of classes or splits."""
    for entry in _entries(folder):
        if is_hidden(entry.name) or entry.is_dir():
            continue
        if _is_one(entry, found.medium):
            found.left_out["outside the folders of classes"] += 1


def _check(root: Path, found: Listing, least: int) -> None:
    if len(found.classes) < least:
        count = "two or more" if least > 1 else "one or more"
        raise UsageError(
            f"{root}: expected a folder for each of {count} classes, received {len(found.classes)}"
            + (f" ({found.classes[0]})" if found.classes else "")
        )
    for split, files in found.files.items():
        strange = sorted({name for _, name in files} - set(found.classes))
        if strange:
            raise UsageError(f"{root}: class {strange[0]!r} of the {split} split is not in the training split")


def split_files(path: Path, suffixes: Collection[str], tally: Tally) -> dict[str, Path]:
    """Return the file of each split in a folder of files named train, valid and test; others are told of.

    Args:
        path: Folder.
        suffixes: Suffixes of the files.
        tally: Takes a note about other files.

    Raises:
        UsageError: Two files for one split.
    """
    files = visible_files(path, suffixes)
    named: dict[str, Path] = {}
    for file in files:
        split = SPLITS.get(file.stem.lower())
        if split in named:
            raise UsageError(
                f"{path}: expected one file for a split, received {named[split].name!r} and {file.name!r} for {split};"
                " merge them, or move one away"
            )
        if split:
            named[split] = file
    others = [file.name for file in files if file not in named.values()] if "train" in named else []
    others += [p.name for p in sorted(path.iterdir()) if p.is_file() and p not in files and not is_hidden(p.name)]
    if others:
        first = named.get("train", next(iter(files)))
        tally.notes.append(f"{few(others)} beside {first.name} {'is' if len(others) == 1 else 'are'} not read")
    return named


def visible_files(path: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files of a folder with one of some suffixes, sorted, without hidden ones."""
    return sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and not is_hidden(p.name))


def pictures_below(folder: Path) -> list[Path]:
    """Return the files with the suffix of a picture in a folder and in those below it, sorted, without hidden ones.

    Linked folders are followed, but each is read once.
    """
    found, seen, left = [], set(), [folder]
    while left:
        path = left.pop()
        status = path.stat()
        if (key := (status.st_dev, status.st_ino)) in seen:
            continue
        seen.add(key)
        for entry in _entries(path):
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                left.append(Path(entry))
            elif PurePath(entry.name).suffix.lower() in SUFFIXES:
                found.append(Path(entry))
    return sorted(found)
