"""Detection: annotated pictures, whose objects become rows of boxes and classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.config.task_facts import USUAL_FIT, Fit
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import cache, images
from zoo.data.annotations import checking, layouts
from zoo.data.annotations.annotated import Annotated, Picture
from zoo.data.casts import check_class_names, tell_odd_names
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.images import Unreadable
from zoo.data.reading import Tally
from zoo.data.splits import held_out, set_validation
from zoo.data.stored import grouping, keeping
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.files import Files
from zoo.data.stored.media import check_size
from zoo.data.taken import Taken

TASK = "detection"


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read annotated pictures.

    Args:
        config: Names the data and how they are split.
        taken: Form that the data take over.

    Raises:
        UsageError: Data that cannot be read, faults of annotations unless they are skipped, or classes that the run
            does not know.
    """
    like, tally = taken.like, taken.tally
    fit: Fit = like.fit if like else config.fit or USUAL_FIT
    tally.unit = "pictures"
    found = layouts.read(config.data)
    classes = like.class_names if like else found.classes
    splits = _checked(config, config.data, found, classes, tally)
    tally.made |= found.named
    if config.validation_data is not None:
        other = layouts.read(config.validation_data)
        parts = _checked(config, config.validation_data, other, classes, tally)
        set_validation(splits, parts, config, tally)
    check_class_names(config.data_name, classes)
    if like is None:
        tell_odd_names(classes, tally)
    splits = _held_out(config, splits, tally)
    if not splits["train"]:
        raise UsageError(f"--data {config.data}: expected annotated pictures to train on, found none")
    sources = {split: Files(config.data, [one.file for one in part]) for split, part in splits.items()}
    used = [source for source in sources.values() if len(source)]
    size, channels = keeping.common_shape(used, tally)
    shape = like.input_shape if like else (*((config.image_size,) * 2 if config.image_size else size), channels)
    if like is None:
        check_size(config, shape)
    most = max(1, *(len(one.classes) for part in splits.values() for one in part))
    made = {
        split: Split(
            Column(sources[split], Pictures(tuple(shape), fit)),
            checking.placed(part, classes, shape[:2], fit, most, tally),
        )
        for split, part in splits.items()
    }
    kept = keeping.kept(config, made, tally)
    labels = np.concatenate([split.y[..., 4].reshape(-1) for split in kept.values()]).astype(np.int64)
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    tally.classes = dict(zip(classes, counts.tolist(), strict=True))
    tally.notes.insert(0, f"layout of {found.layout}")
    spec = DataSpec(config.data_name, "image", tuple(shape), tuple(classes), task=TASK, fit=fit)
    return Dataset(spec, kept["train"], kept["validation"], kept["test"])


def _checked(
    config: TrainConfig, path: Path, found: Annotated, classes: Sequence[str], tally: Tally
) -> dict[str, list[Picture]]:
    """Return the pictures of each split without faults; pictures or boxes that have some are refused or left out."""
    faults, everything = found.faults, [one for part in found.splits.values() for one in part]
    tally.left_out.update(found.left_out)
    tally.notes += found.notes
    known = _sizes(path, [one.file for one in everything])
    splits: dict[str, list[Picture]] = {}
    for split, part in found.splits.items():
        splits[split] = []
        for one in part:
            size = known.get(one.file)
            if size is None:  # named with the reason when pictures are decoded
                faults.add("pictures that cannot be read", one.file.name)
            elif checking.stated_size_is_right(one, size, faults):
                splits[split].append(checking.checked(one, size, classes, faults, tally))
    if not config.skip_bad:
        faults.check(f"--data {path}")
    if not any(one.classes for part in splits.values() for one in part):
        count = sum(faults.counts().values())
        skipped = f" beside {count:,} faults that are left out" if count else ""
        raise UsageError(
            f"--data {path}: expected objects in the annotations of {len(everything):,} pictures, found none{skipped}"
        )
    for fault, count in faults.counts().items():
        if fault.startswith(("annotations ", "pictures ")):
            tally.left_out[fault] += count
        else:
            tally.changed[f"{fault} left out"] += count
    return splits


def _sizes(path: Path, files: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return the (height, width) of the upright pictures that can be opened; kept in the cache."""

    def look() -> dict[str, np.ndarray]:
        rows = np.zeros((len(files), 2), np.int64)
        for row, file in zip(rows, files, strict=True):
            try:
                row[:] = images.size_of(file)
            except Unreadable:
                continue
        return {"sizes": rows}

    rows = cache.cached(["picture sizes", Files(path, files).identity()], look)["sizes"].tolist()
    return {file: tuple(size) for file, size in zip(files, rows, strict=True) if all(size)}


def _held_out(config: TrainConfig, splits: dict[str, list[Picture]], tally: Tally) -> dict[str, list[Picture]]:
    """Return train, validation and test; splits that are not given are drawn, by whole groups if `--group` is given."""
    if not {"all", "train"} & set(splits):
        raise UsageError(f"--data {config.data}: expected a split train, received {few(list(splits))}")
    files = {split: Files(config.data, [one.file for one in part]) for split, part in splits.items()}
    groups = grouping.of_files(config, files, tally)
    everything, rows = [], {}
    for split, part in splits.items():
        places = np.arange(len(everything), len(everything) + len(part))
        rows[split] = Split(places, np.zeros((len(part), 0), np.int32), groups=groups[split])
        everything += part
    found = held_out(config, rows, (), tally)
    return {split: [everything[place] for place in part.x] for split, part in found.items()}
