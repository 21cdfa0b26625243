"""Segmentation: pictures with a mask each, in the folders `images` and `masks`; see `zoo.data.annotations.masked`."""

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.config import catalogue
from zoo.config.masks import ABSENT, BINARY, IGNORED, MOST_CLASSES, Coding, written_classes
from zoo.config.task_facts import USUAL_FIT
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import cache, pixels
from zoo.data.annotations import masked
from zoo.data.annotations.masked import Pairs
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.images import opened
from zoo.data.reading import Tally
from zoo.data.sources import embedded
from zoo.data.splits import held_out, set_validation
from zoo.data.stored import grouping, keeping
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.masks import (
    Masks,
    ignored_numbers,
    known_numbers,
    numbers_in,
    palette_of,
    unknown_numbers,
    values_of,
)
from zoo.data.stored.media import check_size
from zoo.data.taken import Taken

# Reasons why a pair is left out; the number of each is told.
_SIZE, _UNREADABLE, _STRANGE = "with a mask of another size", "that cannot be read", "with unknown values in the mask"
# Different colours of a mask that are kept; one that was stored as JPEG before has thousands.
MOST_COLOURS = 1024
LISTED = 3


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
    pairs = masked.listed(root, tally, faults)
    if config.validation_data is not None:
        set_validation(pairs, masked.listed(config.validation_data, tally, faults), config, tally)
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
    groups = grouping.of_files(config, {split: found.pictures for split, found in pairs.items()}, tally)
    columns = {
        split: Split(Column(found.pictures, decoders[0]), Column(found.masks, decoders[1]), groups=groups[split])
        for split, found in pairs.items()
    }
    _tell(name, facts, coding, like, tally)
    splits = held_out(config, keeping.kept(config, columns, tally), (), tally)
    if not len(splits["train"]):
        raise UsageError(f"{root}: expected training pictures, received none that can be used")
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


# Facts about the masks.


@dataclass(frozen=True)
class _Facts:
    """What is known of a pair.

    Args:
        mask: Name of the file of its mask.
        reason: Why it cannot be used; empty if it can.
        colours: Whether its mask has colours.
        turned: Whether its picture is turned upright by EXIF.
        numbers: Values or colours of the mask.
        counts: Number of pixels of each.
        shown: Colour that the palette of the mask gives each value, -1 without a palette.
    """

    mask: str
    reason: str = ""
    colours: bool = False
    turned: bool = False
    numbers: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()

    def as_colours(self) -> tuple[int, ...]:
        """Return the values as the colours of the palette, or as grey colours; colours as they are."""
        if self.colours:
            return self.numbers
        return tuple(
            colour if colour >= 0 else number * 0x010101
            for number, colour in zip(self.numbers, self.shown, strict=True)
        )

    def as_in(self, coding: Coding) -> tuple[int, ...]:
        """Return the values or the colours, as a coding has them."""
        return self.as_colours() if coding.colours else self.numbers


def _survey(pairs: Pairs, name: str) -> list[_Facts]:
    """Return the facts of every pair. All masks are read once; the facts are kept in the cache."""

    def look() -> dict[str, np.ndarray]:
        print(f"{name}: {len(pairs):,} masks are read once to check them", file=sys.stderr)
        rows = [_fact(pairs, place) for place in range(len(pairs))]
        counts = np.array([len(row.numbers) for row in rows], np.int64)
        return {
            "reasons": np.array([row.reason for row in rows], str),
            "colours": np.array([row.colours for row in rows]),
            "turned": np.array([row.turned for row in rows]),
            "ends": np.cumsum(counts),
            "pixels": np.array(
                [each for row in rows for each in zip(row.numbers, row.counts, row.shown, strict=True)], np.int64
            ).reshape(-1, 3),
        }

    found = cache.cached(["masks", pairs.pictures.identity(), pairs.masks.identity()], look)
    parts = np.split(found["pixels"], found["ends"][:-1]) if len(pairs) else []
    return [
        _Facts(pairs.masks.name(place), str(reason), bool(colours), bool(turned), *map(tuple, part.T.tolist()))
        for place, (reason, colours, turned, part) in enumerate(
            zip(found["reasons"], found["colours"], found["turned"], parts, strict=True)
        )
    ]


def _fact(pairs: Pairs, place: int) -> _Facts:
    name = pairs.masks.name(place)
    try:
        content = pairs.masks.path(place).read_bytes()
        values, palette = values_of(content), palette_of(content)
        with opened(pairs.pictures.path(place)) as image:
            size, turned = pixels.upright_size(image), pixels.TURNED in pixels.remarks(image)
    except (ValueError, OSError) as error:
        return _Facts(name, f"{_UNREADABLE}: {error}")
    if size != values.shape[:2]:
        shown = [f"{width}x{height}" for height, width in (size, values.shape[:2])]
        return _Facts(name, f"{_SIZE}: {shown[0]} and {shown[1]}", values.ndim == 3)
    numbers, counts = (found.tolist() for found in numbers_in(values))
    if len(numbers) > MOST_COLOURS:
        return _Facts(name, f"{_STRANGE}: {len(numbers):,} colours, as after JPEG", True)
    colours = tuple(palette[number] if number < len(palette) else -1 for number in numbers)
    return _Facts(name, "", values.ndim == 3, turned, tuple(numbers), tuple(counts), colours)


def _coding(root: Path, name: str, facts: dict[str, list[_Facts]], like: DataSpec | None, tally: Tally) -> Coding:
    """Return what the pixels of the masks mean.

    Raises:
        UsageError: Colours without a file that names them, too many or too few classes, or other classes than a run's.
    """
    rows = [row for found in facts.values() for row in found if not row.reason]
    if not rows:
        reasons = Counter(_kind_of(row.reason) for found in facts.values() for row in found)
        first = next(row for found in facts.values() for row in found)
        raise UsageError(f"{name}: expected pictures with masks, received none that can be used:"
                         f" {', '.join(f'{count:,} {reason}' for reason, count in reasons.items())}"
                         f" (the first, {first.mask}: {_why(first.reason)})")  # fmt: skip
    coloured = any(row.colours for row in rows)
    written = written_classes(root, colours=True)
    if coloured and not (written and written.colours):
        raise UsageError(
            f"{name}: expected masks whose pixels are values of classes, received colours; colors.txt in {root} with a"
            " name and a colour in each line, such as 'road 128 64 128', says what they mean"
        )
    if not (written and written.colours and (coloured or _in_colours(written, rows))):
        _check_palettes(name, rows, written)
        if written and written.colours:
            written = written_classes(root, colours=False)
            tally.notes.append("masks have values, which are read as the lines of the file of colours, from 0")
    numbers = sorted(set().union(*(row.numbers for row in rows)))
    if written is not None:
        if numbers == [0, IGNORED] and written.numbers == (0, 1) and not written.colours:
            written = Coding(written.names, (0, IGNORED))
            tally.notes.append(f"masks have only 0 and 255: {written.names[0]} and {written.names[1]}")
    elif like is not None:
        written = _as_of_run(like, numbers)
    elif set(numbers) == {0, IGNORED}:
        written = Coding(BINARY, (0, IGNORED))
        tally.notes.append(f"masks have only 0 and 255: {BINARY[0]} and {BINARY[1]}")
    else:
        values = tuple(number for number in numbers if number != IGNORED)
        written = Coding(tuple(map(str, values)), values)
        tally.notes.append("classes are called by their values, as there is no classes.txt")
    if not 2 <= len(written.names) <= MOST_CLASSES:
        raise UsageError(f"{name}: expected masks with 2 to {MOST_CLASSES} classes, received {len(written.names)}")
    return written if like is None else _by_name(name, written, like)


def _in_colours(coding: Coding, rows: Sequence[_Facts]) -> bool:
    """Return whether masks of values have the colours of a file, grey or of a palette, and no other values."""
    known = known_numbers(coding)
    return all(known.issuperset(row.as_colours()) for row in rows)


def _check_palettes(name: str, rows: Sequence[_Facts], written: Coding | None) -> None:
    """Raise UsageError for palettes in which a value has several colours, or the colour of another line of a file.

    Programs that save few colours number them in each file anew, such that a value is another class in each.
    """
    lines = {colour: line for line, colour in enumerate(written.numbers)} if written and written.colours else {}
    first: dict[int, tuple[int, str]] = {}
    for row in rows:
        for number, colour in zip(row.numbers, row.shown, strict=True):
            if colour < 0 or number == IGNORED:
                continue
            known, mask = first.setdefault(number, (colour, row.mask))
            if known != colour:
                raise UsageError(
                    f"{name}: expected masks with one palette, received value {number} as #{known:06x} in {mask} and as"
                    f" #{colour:06x} in {row.mask}; store values without a palette, or name the colours in colors.txt"
                )
            if lines.get(colour, number) != number:
                raise UsageError(
                    f"{row.mask}: expected a palette in the order of the file of colours, received value {number} as"
                    f" #{colour:06x}, which is {written.names[lines[colour]]!r}; name all colours of the palette there"
                )


def _as_of_run(like: DataSpec, numbers: Sequence[int]) -> Coding:
    """Return the classes of masks without a file of names as those of a run."""
    if all(re.fullmatch(r"\d{1,3}", name) for name in like.class_names):
        return Coding(like.class_names, tuple(map(int, like.class_names)))
    two = like.class_names == BINARY or (len(like.class_names) == 2 and set(numbers) <= {0, IGNORED})
    if two and IGNORED in numbers:
        return Coding(like.class_names, (0, IGNORED))
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
        if row.reason:
            wrong[place] = row.reason
        elif strange := sorted(set(row.as_in(coding)) - known):
            wrong[place] = f"{_STRANGE}: {unknown_numbers(strange, coding)}"
    return wrong


def _kind_of(reason: str) -> str:
    return reason.partition(":")[0]


def _why(reason: str) -> str:
    return reason.partition(": ")[2] or reason


def _tell(name: str, facts: dict[str, list[_Facts]], coding: Coding, like: DataSpec | None, tally: Tally) -> None:
    """Count the pictures that have each class, and note classes without pixels, ignored pixels and turned pictures.

    Raises:
        UsageError: Pixels of fewer than two classes, unless the classes are those of a run.
    """
    has = {split: np.zeros(len(coding.names), np.int64) for split in facts}
    ignored, total, turned = Counter(), 0, 0
    without = ignored_numbers(coding)
    for split, row in ((split, row) for split, rows in facts.items() for row in rows):
        counts = dict(zip(row.as_in(coding), row.counts, strict=True))
        has[split][[i for i, number in enumerate(coding.numbers) if number in counts]] += 1
        ignored.update({number: counts[number] for number in without & counts.keys()})
        total, turned = total + sum(row.counts), turned + row.turned
    counts = sum(has.values())
    tally.classes = dict(zip(coding.names, counts.tolist(), strict=True))
    if ignored:
        what = few([coding.name_of(number) for number in sorted(ignored)])
        tally.notes.append(f"{100 * sum(ignored.values()) / total:.3g} % of the pixels are ignored: {what}")
    if turned:
        tally.notes.append(
            f"{turned:,} pictures are turned upright by EXIF and their masks are not, as if they were drawn on the"
            " upright pictures"
        )
    if like is not None:
        return
    if sum(counts > 0) < 2:
        numbers = sorted({number for rows in facts.values() for row in rows for number in row.as_in(coding)})
        raise UsageError(
            f"{name}: expected masks with pixels of two classes or more of {few(list(coding.names))}, received"
            f" {'colours' if coding.colours else 'values'} {few([coding.name_of(number) for number in numbers])}"
        )
    if never := [known for known, count in tally.classes.items() if not count]:
        tally.notes.append(f"no mask has pixels of {few(never)}")
    taught = has.get("train", counts)
    if untaught := [known for known, count, own in zip(coding.names, counts, taught, strict=True) if count > own == 0]:
        tally.notes.append(f"no training mask has pixels of {few(untaught)}, which other splits have")


def _check_left_out(config: TrainConfig, tally: Tally, faults: dict[str, str]) -> None:
    """Raise UsageError for pairs that cannot be used, unless they are skipped."""
    expected = {
        masked.NO_MASK: "a mask for each picture",
        masked.NO_PICTURE: "a picture for each mask",
        _SIZE: "masks of the size of their pictures",
        _UNREADABLE: "files that can be read",
        _STRANGE: "masks whose values are classes",
    }
    bad = {reason: count for reason in expected if (count := tally.left_out[reason])}
    if config.skip_bad or not bad:
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in bad.items())
    shown = "; ".join(f"{name}: {_why(reason)}" for name, reason in list(faults.items())[:LISTED])
    raise UsageError(
        f"{config.data}: expected {' and '.join(expected[reason] for reason in bad)}, received {counts} ({shown});"
        " repair them, or leave them out with --skip-bad"
    )
