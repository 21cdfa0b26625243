"""Segmentation: pictures with a mask each, in the folders `images` and `masks`.

Splits may lie above (`train/images`, `train/masks`) or below (`images/train`, `masks/train`). A mask has the name of
its picture, but for its ending and a usual end such as `_mask`.
"""

import dataclasses
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.config import catalogue
from zoo.config.masks import ABSENT, BINARY, IGNORED, IMAGES, MASKS, MOST_CLASSES, Coding, part, written_classes
from zoo.config.task_facts import USUAL_FIT
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import cache, pixels
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.images import is_picture, opened
from zoo.data.reading import Tally, drawn
from zoo.data.sources import embedded
from zoo.data.sources.folders import SPLITS, SUFFIXES
from zoo.data.splits import hold_out
from zoo.data.stored import keeping
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.files import Files
from zoo.data.stored.masks import Masks, known_numbers, numbers_in, unknown_numbers, values_of
from zoo.data.stored.media import check_size
from zoo.data.taken import Taken

# Ends of the names of pictures and of masks that are not compared, those of Cityscapes and CamVid among them.
_OF_PICTURE = re.compile(r"(_leftImg8bit|[_-](image|img|rgb))$", re.IGNORECASE)
_OF_MASK = re.compile(
    r"(_gtFine_label(Train)?Ids|_L|[_-](masks?|labels?|seg|segmentation|gt|groundtruth|annotation))$", re.IGNORECASE
)
# Reasons why a pair is left out; the number of each is told.
_NO_MASK, _NO_PICTURE = "pictures without a mask", "masks without a picture"
_SIZE, _UNREADABLE, _STRANGE = "with a mask of another size", "that cannot be read", "with unknown values in the mask"
# Different colours of a mask that are kept; one that was stored as JPEG before has thousands.
MOST_COLOURS = 1024
LISTED = 3


@dataclass(frozen=True)
class _Pairs:
    """Pictures and masks of a split, in the same order."""

    pictures: Files
    masks: Files

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, places: np.ndarray) -> "_Pairs":
        both = (self.pictures, self.masks)
        return _Pairs(*(Files(files.root, [files.path(int(place)) for place in places]) for files in both))


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read pictures and masks.

    Args:
        config: Names the data and how they are split.
        taken: Form that the data take over.

    Raises:
        UsageError: Data that cannot be read, or that do not have the form of the run.
    """
    like, tally, root, name = taken.like, taken.tally, config.data, config.data_name
    tally.unit = "pictures"
    if root is None:
        return _embedded(config, taken)
    faults: dict[str, str] = {}
    pairs = _listed(root, tally, faults)
    if config.validation_data is not None:
        pairs["validation"] = next(iter(_listed(config.validation_data, tally, faults).values()))
        tally.made["validation"] = "--validation-data"
    facts = {split: _survey(found, name) for split, found in pairs.items()}
    coding = _coding(root, name, facts, like, tally)
    for split, found in pairs.items():
        wrong = _wrong(facts[split], coding)
        faults |= {found.pictures.name(place): reason for place, reason in wrong.items()}
        places = np.setdiff1d(np.arange(len(found)), list(wrong))
        pairs[split], facts[split] = found.take(places) if wrong else found, [facts[split][i] for i in places]
        tally.left_out.update(_kind_of(reason) for reason in wrong.values())
    _check_left_out(config, tally, faults)
    fit = like.fit if like else config.fit or USUAL_FIT
    if like:
        shape = like.input_shape
    else:
        size, channels = keeping.common_shape([found.pictures for found in pairs.values()], tally)
        shape = (*((config.image_size,) * 2 if config.image_size else size), channels)
        check_size(config, shape)
    decoders = Pictures(shape, fit), Masks(shape[:2], fit, coding)
    columns = {
        split: Split(Column(found.pictures, decoders[0]), Column(found.masks, decoders[1]))
        for split, found in pairs.items()
    }
    classes = np.zeros(len(coding.names), np.int64)
    for row in (row for rows in facts.values() for row in rows):
        classes[[i for i, number in enumerate(coding.numbers) if number in row.numbers]] += 1
    tally.classes = dict(zip(coding.names, classes.tolist(), strict=True))
    splits = _held_out(config, keeping.kept(config, columns, tally), tally)
    spec = DataSpec(
        name=name,
        kind="image",
        input_shape=tuple(int(n) for n in shape),
        class_names=coding.names,
        task=catalogue.task_of(config),
        fit=fit,
    )
    if like is not None:
        spec = dataclasses.replace(like, name=name)
    return Dataset(spec, splits["train"], splits["validation"], splits["test"])


def _embedded(config: TrainConfig, taken: Taken) -> Dataset:
    """Return the pictures of shapes."""
    like = taken.like
    found = embedded.shapes(like.input_shape[0] if like else config.image_size)
    splits = {split: Split(*arrays) for split, arrays in found.items()}
    counts = [sum(int((y == i).any((1, 2)).sum()) for _, y in found.values()) for i in range(len(embedded.SHAPES))]
    taken.tally.classes = dict(zip(embedded.SHAPES, counts, strict=True))
    shape = splits["train"].x.shape[1:]
    spec = DataSpec(
        "shapes", "image", shape, embedded.SHAPES, task=catalogue.task_of(config), fit=config.fit or USUAL_FIT
    )
    if like is not None and (like.input_shape, like.class_names) != (shape, embedded.SHAPES):
        raise UsageError(f"shapes: expected a run on square pictures of the same classes, received {like.name}")
    return Dataset(like or spec, splits["train"], splits["validation"], splits["test"])


def _held_out(config: TrainConfig, splits: dict[str, Split], tally: Tally) -> dict[str, Split]:
    """Return train, validation and test; splits that are not given are drawn from the others."""
    everything = splits.pop("all", None)
    pool = "train" if everything is None else "all"
    splits["train"] = splits.get("train", everything)
    for split, share in (("test", config.test_split), ("validation", config.validation_split)):
        if split not in splits:
            splits["train"], splits[split] = hold_out(splits["train"], share, split, ())
            tally.made[split] = drawn(share)
    if not len(splits["train"]):
        raise UsageError(f"{config.data}: expected training pictures, received none in {pool}")
    return splits


# Files.


def _listed(root: Path, tally: Tally, faults: dict[str, str]) -> dict[str, _Pairs]:
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
    """Return the folders of pictures and masks of each split."""
    images, masks = part(root, IMAGES), part(root, MASKS)
    if images and masks:
        inside = _splits(images)
        if not inside or any(_files(images, deep=False)):
            return {"all": (images, masks)}
        named = {split: (folder, masks / folder.name) for split, folder in inside.items()}
        above = None
    else:
        named = {
            split: (part(folder, IMAGES), part(folder, MASKS))
            for split, folder in _splits(root).items()
            if part(folder, IMAGES) and part(folder, MASKS)
        }
        above = root
    if "train" not in named:
        raise UsageError(f"{root}: expected a split train among {few(list(named))}; rename a folder")
    missing = next((masks for _, masks in named.values() if not masks.is_dir()), None)
    if missing is not None:
        raise UsageError(f"{missing}: expected a folder of masks, as there are pictures for it; found none")
    for split, (folder, _) in named.items():
        called = folder.parent.name if above else folder.name
        if called != split:
            tally.made[split] = f"folder {called}"
    return named


def _splits(folder: Path) -> dict[str, Path]:
    """Return the folders inside a folder that are called as splits, by split."""
    named: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLITS.get(path.name.lower())
        if split and path.is_dir():
            if split in named:
                raise UsageError(
                    f"{folder}: expected one folder for a split, received {named[split].name!r} and {path.name!r} for"
                    f" {split}; merge them, or move one away"
                )
            named[split] = path
    return named


def _files(folder: Path, deep: bool = True) -> Iterator[Path]:
    """Yield the files of a folder, and of folders inside it, without hidden ones."""
    for place, inside, names in os.walk(folder, followlinks=True):
        inside[:] = sorted(name for name in inside if not name.startswith(".")) if deep else []
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _paired(root: Path, images: Path, masks: Path, tally: Tally, faults: dict[str, str]) -> _Pairs:
    """Return pictures and masks with the same name; those without the other are counted."""
    pictures, other = _by_key(images, _OF_PICTURE, tally), _by_key(masks, _OF_MASK, tally)
    both = [key for key in pictures if key in other]
    for what, alone in ((_NO_MASK, pictures), (_NO_PICTURE, other)):
        lonely = [path for key, path in alone.items() if key not in pictures or key not in other]
        tally.left_out[what] += len(lonely)
        faults |= {str(path.relative_to(root)): what.partition(" ")[2] for path in lonely}
    ends = Counter(other[key].stem.removeprefix(pictures[key].stem) for key in both)
    if end := next((end for end, _ in ends.most_common(1) if end), ""):
        note = f"masks are called as their pictures with the end {end}"
        tally.notes += [] if note in tally.notes else [note]
    return _Pairs(Files(root, [pictures[key] for key in both]), Files(root, [other[key] for key in both]))


def _by_key(folder: Path, end: re.Pattern, tally: Tally) -> dict[tuple[str, str], Path]:
    """Return the pictures below a folder by their folder and their name without a usual end.

    Raises:
        UsageError: Two files with one name.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in _files(folder):
        if path.suffix.lower() not in SUFFIXES and not is_picture(path):
            tally.left_out[f"no picture ({path.suffix.lower() or 'no suffix'})"] += 1
            continue
        key = str(path.parent.relative_to(folder)), end.sub("", path.stem)
        if key in found:
            raise UsageError(f"{folder}: expected one file of each name, received {found[key].name} and {path.name}")
        found[key] = path
    return found


# Facts about the masks.


@dataclass(frozen=True)
class _Facts:
    """What is known of a pair.

    Args:
        reason: Why it cannot be used; empty if it can.
        colours: Whether its mask has colours.
        numbers: Values or colours of the mask.
    """

    reason: str
    colours: bool
    numbers: frozenset[int]


def _survey(pairs: _Pairs, name: str) -> list[_Facts]:
    """Return the facts of every pair. All masks are read once; the facts are kept in the cache."""

    def look() -> dict[str, np.ndarray]:
        print(f"{name}: {len(pairs):,} masks are read once to check them", file=sys.stderr)
        rows = [_fact(pairs, place) for place in range(len(pairs))]
        counts = np.array([len(row.numbers) for row in rows], np.int64)
        return {
            "reasons": np.array([row.reason for row in rows], str),
            "colours": np.array([row.colours for row in rows]),
            "ends": np.cumsum(counts),
            "numbers": np.array([number for row in rows for number in sorted(row.numbers)], np.int64),
        }

    found = cache.cached(["masks", pairs.pictures.identity(), pairs.masks.identity()], look)
    parts = np.split(found["numbers"], found["ends"][:-1]) if len(pairs) else []
    return [
        _Facts(str(reason), bool(colours), frozenset(numbers.tolist()))
        for reason, colours, numbers in zip(found["reasons"], found["colours"], parts, strict=True)
    ]


def _fact(pairs: _Pairs, place: int) -> _Facts:
    try:
        values = values_of(pairs.masks.path(place).read_bytes())
        with opened(pairs.pictures.path(place)) as image:
            size = pixels.upright_size(image)
    except (ValueError, OSError) as error:
        return _Facts(f"{_UNREADABLE}: {error}", False, frozenset())
    if size != values.shape[:2]:
        shown = [f"{width}x{height}" for height, width in (size, values.shape[:2])]
        return _Facts(f"{_SIZE}: {shown[0]} and {shown[1]}", values.ndim == 3, frozenset())
    numbers = numbers_in(values).tolist()
    if len(numbers) > MOST_COLOURS:
        return _Facts(f"{_STRANGE}: {len(numbers):,} colours, as after JPEG", True, frozenset())
    return _Facts("", values.ndim == 3, frozenset(numbers))


def _coding(root: Path, name: str, facts: dict[str, list[_Facts]], like: DataSpec | None, tally: Tally) -> Coding:
    """Return what the pixels of the masks mean.

    Raises:
        UsageError: Colours without a file that names them, too many or too few classes, or other classes than a run's.
    """
    rows = [row for found in facts.values() for row in found if not row.reason]
    if not rows:
        reasons = Counter(_kind_of(row.reason) for found in facts.values() for row in found)
        raise UsageError(f"{name}: expected pictures with masks, received none that can be used:"
                         f" {', '.join(f'{count:,} {reason}' for reason, count in reasons.items())}")  # fmt: skip
    coloured = any(row.colours for row in rows)
    written = written_classes(root, colours=True)
    if written is None and coloured:
        raise UsageError(
            f"{name}: expected masks whose pixels are values of classes, received colours; colors.txt in {root} with a"
            " name and a colour in each line, such as 'road 128 64 128', says what they mean"
        )
    if written is not None and written.colours and not coloured and not _in_colours(written, rows):
        written = written_classes(root, colours=False)
        tally.notes.append("masks have values, which are read as the lines of the file of colours, from 0")
    numbers = sorted(set().union(*(row.numbers for row in rows)))
    if written is not None:
        if written.ignored:
            tally.notes.append("pixels of void classes are ignored")
    elif like is not None:
        written = _as_of_run(like, numbers)
    elif set(numbers) == {0, IGNORED}:
        written = Coding(BINARY, (0, IGNORED))
        tally.notes.append(f"masks have 0 and 255 alone: {BINARY[0]} and {BINARY[1]}")
    else:
        values = tuple(number for number in numbers if number != IGNORED)
        written = Coding(tuple(map(str, values)), values)
        tally.notes.append("classes are called by their values, as there is no classes.txt")
    if not 2 <= len(written.names) <= MOST_CLASSES:
        raise UsageError(f"{name}: expected masks with 2 to {MOST_CLASSES} classes, received {len(written.names)}")
    return written if like is None else _by_name(name, written, like)


def _in_colours(coding: Coding, rows: Sequence[_Facts]) -> bool:
    """Return whether grey masks have the grey colours of a file, and no other values."""
    grey = {
        number & 255 for number in known_numbers(coding) if len({number >> 16, number >> 8 & 255, number & 255}) == 1
    }
    return all(row.numbers <= grey for row in rows)


def _as_of_run(like: DataSpec, numbers: Sequence[int]) -> Coding:
    """Return the classes of masks without a file of names as those of a run."""
    if like.class_names == BINARY and IGNORED in numbers:
        return Coding(BINARY, (0, IGNORED))
    if all(re.fullmatch(r"\d{1,3}", name) for name in like.class_names):
        return Coding(like.class_names, tuple(map(int, like.class_names)))
    return Coding(like.class_names, tuple(range(len(like.class_names))))


def _by_name(name: str, coding: Coding, like: DataSpec) -> Coding:
    """Return the classes in the order of a run; the data may lack some."""
    if strange := [known for known in coding.names if known not in like.class_names]:
        raise UsageError(f"{name}: class {strange[0]!r} is not one of {few(like.class_names)}, which the run was"
                         " trained on")  # fmt: skip
    by_name = dict(zip(coding.names, coding.numbers, strict=True))
    numbers = tuple(by_name.get(known, ABSENT) for known in like.class_names)
    return Coding(like.class_names, numbers, coding.ignored, coding.colours)


def _wrong(facts: Sequence[_Facts], coding: Coding) -> dict[int, str]:
    """Return why pairs cannot be used, by place."""
    known, wrong = known_numbers(coding), {}
    for place, row in enumerate(facts):
        numbers = _converted(row.numbers) if coding.colours and not row.colours else row.numbers
        if row.reason:
            wrong[place] = row.reason
        elif strange := sorted(numbers - known):
            wrong[place] = f"{_STRANGE}: {unknown_numbers(strange, coding)}"
    return wrong


def _converted(numbers: frozenset[int]) -> frozenset[int]:
    """Return values of grey pixels as colours."""
    return frozenset(number * 0x010101 for number in numbers)


def _kind_of(reason: str) -> str:
    return reason.partition(":")[0]


def _check_left_out(config: TrainConfig, tally: Tally, faults: dict[str, str]) -> None:
    """Raise UsageError for pairs that cannot be used, unless they are skipped."""
    bad = {reason: tally.left_out[reason] for reason in (_NO_MASK, _NO_PICTURE, _SIZE, _UNREADABLE, _STRANGE)}
    if config.skip_bad or not any(bad.values()):
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in bad.items() if count)
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(faults.items())[:LISTED])
    raise UsageError(
        f"{config.data}: expected a mask of the same size for each picture, received {counts}"
        f"{f' ({shown})' if shown else ''}; repair them, or leave them out with --skip-bad"
    )
