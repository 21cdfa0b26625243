"""Windows of recordings, and the splits that they belong to.

Windows overlap, and neighbours are alike, so they must not be drawn into splits one by one. Whole groups are held out
if there are groups, whole recordings if there are many of each class, and otherwise the end of each recording.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import marks
from zoo.data.casts import plain_names
from zoo.data.dataset import Split
from zoo.data.reading import Tally, drawn
from zoo.data.sensors.recordings import Read
from zoo.data.splits import hold_out
from zoo.data.stored import keeping
from zoo.data.stored.column import Column, parts
from zoo.data.stored.decoders import Numbers

# Recordings of each class from which whole ones are held out.
MANY = 5
# Function from the label codes of windows, (windows, time) with -1 for none, to the code of each window, -1 for none.
LabelOf = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stretches:
    """Stretches of an array of samples, all of one length; a source of a `zoo.data.stored.column.Column`.

    Args:
        values: Samples of all recordings, (time, columns) float32.
        starts: First sample of each window, (windows,).
        length: Number of samples of a window.
        where: Recording of each window, (windows,).
        names: Names of the recordings.
        begins: First sample of each recording, (recordings,).
    """

    values: np.ndarray
    starts: np.ndarray
    length: int
    where: np.ndarray
    names: Sequence[str]
    begins: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, rows: np.ndarray) -> list[bytes]:
        return [self.values[start : start + self.length].tobytes() for start in self.starts[rows]]

    def name(self, row: int) -> str:
        begin = self.starts[row] - self.begins[self.where[row]]
        return f"{self.names[self.where[row]]} from sample {begin}"

    def incomplete(self) -> np.ndarray:
        """Return whether values are missing in each window, (windows,)."""
        missing = np.concatenate([[0], np.cumsum(np.isnan(self.values).any(axis=1))])
        return missing[self.starts + self.length] > missing[self.starts]

    def identity(self) -> Any:
        return self._digest

    @cached_property
    def _digest(self) -> list:
        digest = hashlib.sha256(np.ascontiguousarray(self.values).data)
        digest.update(np.ascontiguousarray(self.starts).data)
        return [digest.hexdigest(), self.length]

    def gathered(self, rows: np.ndarray) -> np.ndarray:
        """Return windows as one array, (windows, time, columns)."""
        out = np.empty((len(rows), self.length, self.values.shape[1]), np.float32)
        for part in parts(out):
            out[part] = self.values[self.starts[rows[part], None] + np.arange(self.length)]
        return out


def classes_of(read: Read, tally: Tally) -> tuple[str, ...]:
    """Return the labels of all samples, numbers in their order."""
    found = {str(label) for recording in read.recordings if recording.labels is not None for label in recording.labels}
    names = {name for name in plain_names(sorted(found), "labels", tally) if name}
    whole = all(name.removeprefix("-").isdigit() for name in names)
    return tuple(sorted(names, key=int if whole else str))


def of_one_label(codes: np.ndarray) -> np.ndarray:
    """Return the label that all samples of a window have, -1 if there are several; see `LabelOf`."""
    return np.where(codes.min(1) == codes.max(1), codes[:, 0], -1)


def splits(
    config: TrainConfig,
    read: Read,
    class_names: Sequence[str],
    *,
    window: int,
    hop: int,
    label_of: LabelOf,
    tally: Tally,
) -> dict[str, Split]:
    """Return the windows of recordings by split.

    Args:
        config: Has the shares of the splits, and the memory that windows may take.
        read: Recordings.
        class_names: Names of the classes; other labels are refused.
        window: Number of samples of a window.
        hop: Number of samples from the start of a window to that of the next.
        label_of: Function that gives the label of each window.
        tally: Takes what was left out, and how the splits were made.

    Returns:
        Splits whose inputs are (windows, time, columns): train, validation and test as far as there are any, each
        window with the recording and, if there are any, the group that it is from.

    Raises:
        UsageError: No recording is as long as a window, a label of another class, or groups that cannot be divided.
    """
    tally.unit = "windows"
    recordings = read.recordings
    source = cut(read, window, hop, tally)
    if not len(source):
        longest = max(map(len, recordings), default=0)
        raise UsageError(
            f"--window {window}: expected at most the {longest:,} samples of the longest recording of"
            f" {config.data_name}{''.join(f'; {note}' for note in read.breaks)}"
        )
    where = source.where
    y = _labels(read, class_names, source, label_of)
    absent = source.incomplete()
    tally.left_out["with missing values"] += int(absent.sum())
    tally.left_out["without a label, or with several"] += int((~absent & (y < 0)).sum())
    good = np.flatnonzero(~absent & (y >= 0))
    if absent.all():
        counts = np.isnan(source.values).sum(0)
        raise UsageError(
            f"{config.data_name}: expected windows without missing values, received none; column"
            f" {read.columns[counts.argmax()]!r} lacks {counts.max():,} of {len(source.values):,}: leave it out by"
            " --columns, or choose a smaller --window"
        )
    if not len(good):
        raise UsageError(f"{config.data_name}: expected windows of one label without missing values, received none")
    groups = np.array([recording.group for recording in recordings])
    named = np.array([recording.split for recording in recordings])
    pools = {name: good[named[where[good]] == name] for name in dict.fromkeys(named.tolist())}
    pools = _divided(config, source, y, groups if groups.any() else None, class_names, pools, tally)
    return {name: _split(config, source, y, groups, chosen, tally) for name, chosen in pools.items()}


def cut(read: Read, window: int, hop: int, tally: Tally) -> Stretches:
    """Return the windows of recordings; nothing is copied but the samples.

    Args:
        read: Recordings.
        window: Number of samples of a window.
        hop: Number of samples from the start of a window to that of the next.
        tally: Takes the number of recordings that are shorter.
    """
    lengths = [len(recording) for recording in read.recordings]
    starts, where = _starts(lengths, window, hop, tally)
    values = np.concatenate([recording.values for recording in read.recordings])
    begins = np.concatenate([[0], np.cumsum(lengths)])
    return Stretches(values, starts, window, where, [recording.name for recording in read.recordings], begins)


def _starts(lengths: Sequence[int], window: int, hop: int, tally: Tally) -> tuple[np.ndarray, np.ndarray]:
    """Return the first sample of each window, counted over all recordings, and its recording."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    counts = [max(0, (length - window) // hop + 1) for length in lengths]
    short = sum(1 for count in counts if not count)
    tally.changed[f"recordings shorter than {window} samples not used"] += short
    each = [offset + hop * np.arange(count) for offset, count in zip(offsets, counts, strict=False)]
    return np.concatenate([*each, np.zeros(0, np.int64)]).astype(np.int64), np.repeat(np.arange(len(lengths)), counts)


def _labels(read: Read, class_names: Sequence[str], source: Stretches, label_of: LabelOf) -> np.ndarray:
    """Return the class of each window, -1 where there is none; zeros if there are no labels."""
    if all(recording.labels is None for recording in read.recordings):
        return np.zeros(len(source), np.int64)
    index = {name: code for code, name in enumerate(class_names)}
    codes = np.full(len(source.values), -1, np.int64)
    begin = 0
    for recording in read.recordings:
        if recording.labels is not None:
            labels, places = np.unique(recording.labels.astype(str), return_inverse=True)
            known = [-1 if not label.strip() else index.get(plain_names([label], "", Tally())[0]) for label in labels]
            if None in known:
                strange = str(labels[known.index(None)])
                raise UsageError(f"{recording.name}: class {strange!r} is not one of {', '.join(class_names)}")
            codes[begin : begin + len(recording)] = np.array(known)[places]
        begin += len(recording)
    y = np.empty(len(source), np.int64)
    for part in parts(np.broadcast_to(np.int64(0), (len(source), source.length))):
        y[part] = label_of(codes[source.starts[part, None] + np.arange(source.length)])
    return y


def _divided(
    config: TrainConfig,
    source: Stretches,
    y: np.ndarray,
    groups: np.ndarray | None,
    class_names: Sequence[str],
    pools: dict[str, np.ndarray],
    tally: Tally,
) -> dict[str, np.ndarray]:
    """Return the windows of train, validation and test; those that the data do not name are held out."""
    found = dict(pools)
    if "all" in found:
        found["train"] = found.pop("all")
    for name, share in (("test", config.test_split), ("validation", config.validation_split)):
        if name in found or not share:
            continue
        rest = found["train"]
        if groups is not None:
            own = Split(rest, y[rest].astype(np.int32), groups=groups[source.where[rest]])
            kept, held = hold_out(own, share, name, tuple(class_names))
            found["train"], found[name] = kept.x, held.x
            tally.made[name] = drawn(share, groups=sorted(set(held.groups.tolist())))
        elif (recordings := _many(source, y, rest)) is not None:
            kept, held = hold_out(recordings, share, name, tuple(class_names))
            found["train"], found[name] = (rest[np.isin(source.where[rest], part.x)] for part in (kept, held))
            tally.made[name] = f"{100 * share:.3g} % of the recordings, drawn"
        else:
            found["train"], found[name], lost = _by_time(source, rest, share)
            tally.made[name] = f"the last {100 * share:.3g} % of each recording"
            tally.left_out["across the border of two splits"] += lost
    return found


def _many(source: Stretches, y: np.ndarray, chosen: np.ndarray) -> Split | None:
    """Return the recordings of windows with their classes, None if a class has few recordings."""
    recordings, first = np.unique(source.where[chosen], return_index=True)
    own = Split(recordings, y[chosen][first].astype(np.int32))
    return own if np.unique(own.y, return_counts=True)[1].min() >= MANY else None


def _by_time(source: Stretches, chosen: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the windows before and after the border in each recording, and the number of those across it."""
    starts, where = source.starts[chosen], source.where[chosen]
    first, last = (np.full(where.max() + 1, value) for value in (np.iinfo(np.int64).max, np.int64(0)))
    np.minimum.at(first, where, starts)
    np.maximum.at(last, where, starts + source.length)
    border = np.rint(last - share * (last - first)).astype(np.int64)[where]
    before, after = starts + source.length <= border, starts >= border
    return chosen[before], chosen[after], int((~before & ~after).sum())


def _split(
    config: TrainConfig, source: Stretches, y: np.ndarray, groups: np.ndarray, chosen: np.ndarray, tally: Tally
) -> Split:
    """Return windows as a split, decoded if they fit in the memory."""
    labels, where = y[chosen].astype(np.int32), source.where[chosen]
    of_group = groups[where] if groups.any() else None
    most = keeping.budget(config)
    if 4 * len(source) * source.length * source.values.shape[1] <= most:
        return Split(source.gathered(chosen), labels, groups=of_group, recordings=where)
    tally.kept = "cut out of the recordings for each batch"
    column = Column(source, Numbers((source.length, source.values.shape[1]), np.dtype(np.float32)), chosen)
    hashes = [marks.of_rows([column[part]]) for part in parts(column)]
    found = np.concatenate(hashes) if hashes else np.zeros((0, marks.BYTES), np.uint8)
    return Split(column, labels, found, groups=of_group, recordings=where)
