"""Whether the examples of a set are kept decoded or decoded for each batch, by the memory that they may take.

Every example is decoded once when a set is seen for the first time. So each one that cannot be read is named before
training starts, and each is known by a hash of its numbers, which is the same however the set is kept. Both are kept in
the cache on disk; sets that fit in the memory are there decoded.
"""

import functools
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console import progress
from zoo.console.errors import UsageError
from zoo.console.figures import size
from zoo.data import cache, images
from zoo.data.dataset import Split
from zoo.data.reading import Tally
from zoo.data.stored.column import Column, parts
from zoo.data.stored.files import Files
from zoo.system.machine import available_memory

# Share of the free memory that decoded examples may take by default, and bytes where the free memory is not known.
SHARE, UNKNOWN = 4, 1 << 30
MARK = 16  # bytes of a hash
LISTED = 5
# Examples of a larger set whose check is kept by itself.
PORTION = 1 << 16


def budget(config: TrainConfig) -> int:
    """Return how many bytes decoded examples may take: those of `--memory`, or a quarter of what is free."""
    if config.shard == "files":
        return 0
    if config.memory is not None:
        return int(config.memory)
    free = available_memory()
    return UNKNOWN if free is None else free // SHARE


def common_shape(sources: Sequence[Files], tally: Tally) -> tuple[tuple[int, int], int]:
    """Return what `zoo.data.images.common_shape` does of files; the result is kept in the cache.

    Args:
        sources: Files of each split.
        tally: Takes the own sizes of the pictures, and what decoding does to them.
    """

    def look() -> dict[str, np.ndarray]:
        own = Tally()
        paths = [source.path(row) for source in sources for row in range(len(source))]
        size, channels = images.common_shape(paths, own)
        counts = {name: np.array(list(found.values()), np.int64) for name, found in _counters(own).items()}
        names = {f"{name}.names": np.array(list(found), str) for name, found in _counters(own).items()}
        return counts | names | {"notes": np.array(own.notes, str), "shape": np.array([*size, channels])}

    found = cache.cached(["sizes", [source.identity() for source in sources]], look)
    for name, counter in _counters(tally).items():
        counter.update(dict(zip(found[f"{name}.names"].tolist(), found[name].tolist(), strict=True)))
    tally.notes += found["notes"].tolist()
    height, width, channels = found["shape"].tolist()
    return (height, width), channels


def _counters(tally: Tally) -> dict[str, Counter[str]]:
    return {"sizes": tally.sizes, "changed": tally.changed}


def kept(config: TrainConfig, splits: Mapping[str, Split], tally: Tally) -> dict[str, Split]:
    """Decode the examples of columns if they fit in the memory, and otherwise check that all of them can be decoded.

    Args:
        config: Has the memory that decoded examples may take, and whether those that cannot be read are left out.
        splits: Splits by name, whose inputs are columns, and whose labels may be.
        tally: Takes the number of examples that are left out, and how the others are kept.

    Returns:
        Splits with arrays, or with columns that are decoded for each batch.

    Raises:
        UsageError: Examples that cannot be read, unless they are left out.
    """
    columns = {split: _columns(part) for split, part in splits.items()}
    most, total = budget(config), sum(column.nbytes for found in columns.values() for column in found.values())
    decoded, skip_bad = total <= most, config.skip_bad
    sources = [
        (split, column.source.identity(), column.decoder.identity)
        for split, found in columns.items()
        for column in found.values()
    ]

    key = [sources, skip_bad, decoded]

    def look() -> dict[str, np.ndarray]:
        if not decoded:
            count = sum(map(len, splits.values()))
            print(f"{config.data_name}: {count:,} {tally.unit} are read once to check them", file=sys.stderr)
        with progress.bar(f"reading {config.data_name}"):
            return _looked_at(columns, decoded, skip_bad, tally.unit, key)

    found = cache.cached(key, look)
    silent = sum(_silent(part.x, found[f"{split}.marks"]) for split, part in splits.items())
    if silent:
        tally.notes.append(f"{silent:,} of {sum(map(len, splits.values())):,} sounds are silent throughout")
    result = {}
    for split, part in splits.items():
        places, marks = found[f"{split}.places"], found[f"{split}.marks"]
        y = part.y[places] if len(places) < len(part) and "y" not in columns[split] else part.y
        read = {
            name: found[f"{split}.{name}"] if decoded else column.take(places)
            for name, column in columns[split].items()
        }
        groups = None if part.groups is None else part.groups[places]
        result[split] = Split(read["x"], read.get("y", y), marks, part.block, groups)
        tally.left_out["that cannot be read"] += len(part) - len(places)
    tally.kept = (
        f"{size(total)} decoded in memory" if decoded else f"decoded for each batch ({_why(config, total, most)})"
    )
    return result


def _silent(column: Column, marks: np.ndarray) -> int:
    """Return how many sounds have no sample but zeros, by their marks; 0 for pictures."""
    if column.dtype != np.int16:
        return 0
    silence = hashlib.blake2b(np.zeros(column.shape[1:], np.int16).data, digest_size=MARK).digest()
    return int((marks == np.frombuffer(silence, np.uint8)).all(axis=1).sum())


def _columns(part: Split) -> dict[str, Column]:
    """Return the columns of a split by name: the inputs, and the labels if they are one."""
    return {"x": part.x} | ({"y": part.y} if isinstance(part.y, Column) else {})


def _why(config: TrainConfig, total: int, most: int) -> str:
    if config.shard == "files":
        return "--shard files"
    asked = "--memory" if config.memory is not None else "a quarter of the free memory,"
    return f"{size(total)} decoded are more than {asked} {size(most)}"


def _looked_at(
    splits: Mapping[str, Mapping[str, Column]], decoded: bool, skip_bad: bool, unit: str, key: object
) -> dict[str, np.ndarray]:
    """Return the places of the examples that can be read, their marks and, if asked for, the examples."""
    arrays, bad, total = {}, {}, 0
    digest = hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()
    every, before = sum(len(column) for columns in splits.values() for column in columns.values()), 0
    for split, columns in splits.items():
        inputs, count = columns["x"], len(columns["x"])
        outs, marks, wrong = {}, np.zeros((count, MARK), np.uint8), {}
        for name, column in columns.items():
            outs[name] = np.empty(column.shape, column.dtype) if decoded else None
            found_marks = marks if column is inputs else np.zeros_like(marks)  # an example is known by its input
            if decoded or count <= PORTION:
                _check(column, found_marks, wrong, outs[name], _teller(before, every, unit))
            else:  # a look that is interrupted goes on where it was
                for start in range(0, count, PORTION):
                    few = column.take(np.arange(start, min(start + PORTION, count)))
                    look = functools.partial(_portion, few, _teller(before + start, every, unit))
                    found = cache.cached([digest, split, name, start], look)
                    found_marks[start : start + PORTION] = found["marks"]
                    reasons = zip(found["places"].tolist(), found["reasons"].tolist(), strict=True)
                    wrong |= {start + place: str(reason) for place, reason in reasons}
            before += count
        total += count
        places = np.setdiff1d(np.arange(count), list(wrong))
        bad |= {inputs.name(place): reason for place, reason in wrong.items()}
        arrays |= {f"{split}.places": places, f"{split}.marks": marks[places] if wrong else marks}
        arrays |= {f"{split}.{name}": out[places] if wrong else out for name, out in outs.items() if out is not None}
    if bad and not skip_bad:
        shown = ", ".join(list(bad)[:LISTED]) + (", ..." if len(bad) > LISTED else "")
        raise UsageError(
            f"{len(bad)} of {total:,} {unit} cannot be read: {shown}; repair them, or skip them with --skip-bad"
            f" (the first: {next(iter(bad.values()))})"
        )
    return arrays


def _teller(before: int, every: int, unit: str) -> Callable[[int], None]:
    """Return a function that takes how many examples of a part are read, and moves the bar of all."""
    return lambda done: progress.part(before + done, every, unit)


def _portion(column: Column, read: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Return the marks of examples, and the places of those that cannot be read, with the reasons."""
    marks, wrong = np.zeros((len(column), MARK), np.uint8), {}
    _check(column, marks, wrong, None, read)
    reasons = np.array(list(wrong.values()), f"U{max(map(len, wrong.values()), default=1)}")
    return {"marks": marks, "places": np.array(list(wrong), np.int64), "reasons": reasons}


def _check(
    column: Column,
    marks: np.ndarray,
    wrong: dict[int, str],
    out: np.ndarray | None,
    read: Callable[[int], None],
) -> None:
    """Decode examples.

    Args:
        column: Examples.
        marks: Takes their hashes, (examples, 16).
        wrong: Takes the reason by the place of each that cannot be read.
        out: Takes the examples, if there is one.
        read: Takes how many examples are read.
    """
    for part in parts(column):
        bad: dict[int, str] = {}
        found = column.decoded(column.rows[part], bad)
        for place, example in enumerate(found, part.start):
            digest = hashlib.blake2b(np.ascontiguousarray(example).data, digest_size=MARK).digest()
            marks[place] = np.frombuffer(digest, np.uint8)
        if out is not None:
            out[part] = found
        wrong |= {part.start + place: reason for place, reason in bad.items()}
        read(part.stop)
