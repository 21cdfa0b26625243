"""Whether the examples of a set are kept decoded or decoded for each batch, by the memory that they may take.

Every example is decoded once when a set is seen for the first time. So each one that cannot be read is named before
training starts, and each is known by a hash of its numbers, which is the same however the set is kept. Both are kept in
the cache on disk; sets that fit in the memory are there decoded.
"""

import hashlib
import sys
from collections.abc import Mapping

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.figures import size
from zoo.data import cache
from zoo.data.dataset import Split
from zoo.data.reading import Tally
from zoo.data.stored.column import PART, Column
from zoo.system.machine import available_memory

# Share of the free memory that decoded examples may take by default, and bytes where the free memory is not known.
SHARE, UNKNOWN = 4, 1 << 30
MARK = 16  # bytes of a hash
LISTED = 5


def budget(config: TrainConfig) -> int:
    """Return how many bytes decoded examples may take: those of `--memory`, or a quarter of what is free."""
    if config.shard == "files":
        return 0
    if config.memory is not None:
        return int(config.memory)
    free = available_memory()
    return UNKNOWN if free is None else free // SHARE


def kept(config: TrainConfig, splits: Mapping[str, Split], tally: Tally) -> dict[str, Split]:
    """Decode the examples of columns if they fit in the memory, and otherwise check that all of them can be decoded.

    Args:
        config: Has the memory that decoded examples may take, and whether those that cannot be read are left out.
        splits: Splits by name, whose inputs are columns.
        tally: Takes the number of examples that are left out, and how the others are kept.

    Returns:
        Splits with arrays, or with columns that are decoded for each batch.

    Raises:
        UsageError: Examples that cannot be read, unless they are left out.
    """
    most, total = budget(config), sum(split.x.nbytes for split in splits.values())
    decoded, skip_bad = total <= most, config.skip_bad
    sources = [(split, part.x.source.identity(), part.x.decoder.identity) for split, part in splits.items()]

    def look() -> dict[str, np.ndarray]:
        if not decoded:
            count = sum(map(len, splits.values()))
            print(f"{config.data_name}: {count:,} {tally.unit} are read once to check them", file=sys.stderr)
        return _looked_at(splits, decoded, skip_bad, tally.unit)

    found = cache.cached([sources, skip_bad, decoded], look)
    result = {}
    for split, part in splits.items():
        places, marks = found[f"{split}.places"], found[f"{split}.marks"]
        y = part.y[places] if len(places) < len(part) else part.y
        x = found[f"{split}.x"] if decoded else part.x.take(places)
        result[split] = Split(x, y, marks, part.block)
        tally.left_out["that cannot be read"] += len(part) - len(places)
    tally.kept = (
        f"{size(total)} decoded in memory" if decoded else f"decoded for each batch ({_why(config, total, most)})"
    )
    return result


def _why(config: TrainConfig, total: int, most: int) -> str:
    if config.shard == "files":
        return "--shard files"
    asked = "--memory" if config.memory is not None else "a quarter of the free memory,"
    return f"{size(total)} decoded are more than {asked} {size(most)}"


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
