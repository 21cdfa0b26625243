"""Whether the examples of a set are kept decoded or decoded for each batch, by the memory that they may take.

Every example is decoded once when a set is seen for the first time. So each one that cannot be read is named before
training starts, and each is known by a hash of its numbers, which is the same however the set is kept. Both are kept in
the cache on disk; sets that fit in the memory are there decoded.
"""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.console.errors import UsageError
from zoo.console.figures import size
from zoo.data import cache
from zoo.data.dataset import Split
from zoo.data.stored.column import PART, Column
from zoo.system.machine import available_memory

# Share of the free memory that decoded examples may take by default, and bytes where the free memory is not known.
SHARE, UNKNOWN = 4, 1 << 30
MARK = 16  # bytes of a hash
# Bytes of encoded neighbours that are read together, see `zoo.data.batches.order`.
BLOCK = 1 << 17
LISTED = 5


@dataclass(frozen=True)
class Kept:
    """How the examples of a set are kept.

    Args:
        splits: Splits with arrays, or with columns that are decoded for each batch.
        unreadable: Number of examples that cannot be read and were left out.
        sentence: How they are kept, for the line on what was read.
    """

    splits: dict[str, Split]
    unreadable: int
    sentence: str


def budget(asked: int | None) -> int:
    """Return how many bytes decoded examples may take: those of `--memory`, or a quarter of what is free."""
    if asked is not None:
        return int(asked)
    free = available_memory()
    return UNKNOWN if free is None else free // SHARE


def kept(name: str, splits: Mapping[str, Split], *, memory: int | None, skip_bad: bool, unit: str = "images") -> Kept:
    """Decode the examples of columns if they fit in the memory, and otherwise check that all of them can be decoded.

    Args:
        name: Name of the data, for messages.
        splits: Splits by name, whose inputs are columns.
        memory: Bytes that decoded examples may take; None for a quarter of what is free.
        skip_bad: Whether to leave out examples that cannot be read.
        unit: What the examples are, for messages.

    Raises:
        UsageError: Examples that cannot be read, unless `skip_bad`.
    """
    most, total = budget(memory), sum(split.x.nbytes for split in splits.values())
    decoded = total <= most
    if not decoded:
        print(
            f"{name}: {sum(map(len, splits.values())):,} {unit} are read once to check them, unless the cache has the"
            " result",
            file=sys.stderr,
        )
    key = [
        [(split, part.x.source.identity(), part.x.decoder.identity) for split, part in splits.items()],
        skip_bad,
        decoded,
    ]
    found = cache.cached(key, lambda: _looked_at(splits, decoded, skip_bad, unit))
    result = {}
    for split, part in splits.items():
        places, marks = found[f"{split}.places"], found[f"{split}.marks"]
        y = part.y[places] if len(places) < len(part) else part.y
        x = found[f"{split}.x"] if decoded else part.x.take(places)
        result[split] = Split(x, y, marks, part.block)
    room = f"{size(total)} decoded"
    sentence = f"{room}, in memory" if decoded else f"{room}, more than --memory {size(most)}: decoded for each batch"
    return Kept(result, sum(len(part) - len(result[split]) for split, part in splits.items()), sentence)


def _looked_at(splits: Mapping[str, Split], decoded: bool, skip_bad: bool, unit: str) -> dict[str, np.ndarray]:
    """Return the places of the examples that can be read, their marks and, if asked for, the examples."""
    arrays, bad, total = {}, {}, 0
    for split, part in splits.items():
        column: Column = part.x
        out = np.empty(column.shape, column.dtype) if decoded else None
        marks = np.zeros((len(column), MARK), np.uint8)
        readable = np.ones(len(column), bool)
        for start in range(0, len(column), PART):
            wrong: dict[int, str] = {}
            found = column.decoded(column.rows[start : start + PART], wrong)
            for place, example in enumerate(found):
                digest = hashlib.blake2b(np.ascontiguousarray(example).data, digest_size=MARK).digest()
                marks[start + place] = np.frombuffer(digest, np.uint8)
            if out is not None:
                out[start : start + PART] = found
            readable[[start + place for place in wrong]] = False
            bad |= {column.name(start + place): reason for place, reason in wrong.items()}
        total += len(column)
        places = np.flatnonzero(readable)
        whole = len(places) == len(column)
        arrays |= {f"{split}.places": places, f"{split}.marks": marks if whole else marks[places]}
        if out is not None:
            arrays[f"{split}.x"] = out if whole else out[places]
    if bad and not skip_bad:
        shown = ", ".join(list(bad)[:LISTED]) + (", ..." if len(bad) > LISTED else "")
        raise UsageError(
            f"{len(bad)} of {total:,} {unit} cannot be read: {shown}; repair them, or skip them with --skip-bad"
            f" (the first: {next(iter(bad.values()))})"
        )
    return arrays
