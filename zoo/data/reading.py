"""What was read of a data set: one record, which is printed in one line and kept in metrics.json under `data`.

Sources count in a `Tally` while they read. `zoo.data.recording` makes the `Reading` from it and from the splits.
"""

import collections
import dataclasses
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.console.errors import few

# Number of classes, sizes and reasons that the line names; metrics.json has all of them.
NAMED = 4
# Seed of the examples that stand for a set: names often come in a regular order, of which every tenth is no sample.
SAMPLE_SEED = 0


@dataclass
class Tally:
    """Counts that a source makes while it reads.

    Args:
        unit: What the examples are: pictures, sounds, texts, pairs, triples, windows or examples.
        left_out: Number of examples that are not used, by reason.
        changed: Number of examples that are not used as they are, by what was done.
        sizes: Number of pictures of each own size, such as "640x480".
        made: How each split was made, where the data do not name it train, validation or test.
        notes: Sentences about what was assumed.
        examples: Number of examples of each split, where the arrays have another number of rows.
        kept: How examples from files are kept: decoded in memory, or decoded for each batch.
        columns: Types of the columns of a table, and what is missing in them, as a clause.
        classes: Number of objects of each class, or of examples that have it, where an example may have several;
            otherwise empty.
    """

    unit: str = "examples"
    left_out: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    made: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)
    kept: str = ""
    columns: str = ""
    classes: dict[str, int] = field(default_factory=dict)


def sample(count: int, most: int) -> np.ndarray:
    """Return the places of examples that stand for all of them, in order: all, or `most` that are drawn at random."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(count, most, replace=False))


def drawn(share: float, by_class: bool = False, groups: Collection[str] = ()) -> str:
    """Return how a split was made that was drawn from the others, for `Tally.made`.

    Args:
        share: Share of the examples that was asked for.
        by_class: Whether the examples were drawn by class.
        groups: Groups that were held out, if the split is one of whole groups.
    """
    by = f" by group: {few(sorted(groups))}" if groups else " by class" if by_class else ""
    return f"{100 * share:.3g} %, drawn{by}"


@dataclass(frozen=True)
class Reading:
    """What was read of a data set.

    Args:
        name: Name of the data.
        unit: What the examples are, see `Tally`.
        examples: Number of examples of each split.
        classes: Number of examples, or of objects, of each class over all splits; empty without classes.
        left_out: Number of examples that are not used, by reason.
        changed: Number of examples that are not used as they are, by what was done.
        sizes: Number of pictures of each own size.
        made: How each split was made, where the data do not name it.
        duplicates: Number of examples of the first split that the second has as well, by "validation in train" and so
            on; None if they were not compared.
        notes: Sentences about what was assumed.
        kept: How examples from files are kept; empty for arrays.
        columns: Types of the columns of a table; empty for other data.
    """

    name: str
    unit: str
    examples: Mapping[str, int]
    classes: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    duplicates: Mapping[str, int] | None = None
    notes: tuple[str, ...] = ()
    kept: str = ""
    columns: str = ""

    @property
    def used(self) -> int:
        """Number of examples in all splits."""
        return sum(self.examples.values())

    @property
    def found(self) -> int:
        """Number of examples that were used or left out."""
        return self.used + sum(self.left_out.values())

    def to_json(self) -> dict[str, Any]:
        """Return the record for metrics.json."""
        return {"found": self.found, "used": self.used, **dataclasses.asdict(self)}

    def line(self) -> str:
        """Return the record in one line."""
        used = f"{self.found:,} {self.unit} found, "
        used += f"{self.used:,} used" if self.left_out else "all used"
        if self.left_out:
            used += f" ({listed(self.left_out)} left out)"
        parts = [used]
        if self.classes:
            parts.append(f"{len(self.classes)} classes: {_of_classes(self.classes)}")
        parts.append(", ".join(f"{count:,} {split}{self._how(split)}" for split, count in self.examples.items()))
        if self.sizes:
            looked_at = sum(self.sizes.values())
            which = f", of {looked_at:,} looked at" if looked_at < self.used else ""
            parts.append(f"sizes {_most(self.sizes)}{which}")
        if self.changed:
            parts.append(listed(self.changed))
        parts += filter(None, (self.kept, self.columns))
        return f"{self.name}: {'; '.join(parts)}"

    def _how(self, split: str) -> str:
        return f" ({self.made[split]})" if split in self.made else ""

    def warning(self) -> str:
        """Return what may be wrong in one line, empty if nothing is."""
        found = [
            f"{count:,} of {self.examples[pair.split(' in ')[0]]:,} {pair.split(' in ')[0]} {self.unit} are also in"
            f" {pair.split(' in ')[1]}"
            for pair, count in (self.duplicates or {}).items()
        ]
        found += self.notes
        return f"{self.name}: {'; '.join(found)}" if found else ""


def tell(reading: Reading) -> None:
    """Print the record on standard error: a line, and a second one if something may be wrong."""
    print(reading.line(), file=sys.stderr)
    if warning := reading.warning():
        print(warning, file=sys.stderr)


def listed(counts: Mapping[str, int]) -> str:
    """Return counts by what they count: the first few, and the sum of the others."""
    first = [f"{count:,} {what}" for what, count in list(counts.items())[:NAMED]]
    rest = sum(list(counts.values())[NAMED:])
    return ", ".join([*first, *([f"{rest:,} more"] if rest else [])])


def _of_classes(classes: Mapping[str, int]) -> str:
    """Return the number of examples of each class, or of the smallest and the largest one."""
    if len(classes) <= NAMED:
        return ", ".join(f"{name} {count:,}" for name, count in classes.items())
    ordered = collections.Counter(classes).most_common()
    (most, high), (least, low) = ordered[0], ordered[-1]
    return f"{low:,} ({least}) to {high:,} ({most}) each" if low < high else f"{low:,} each"


def _most(sizes: Mapping[str, int]) -> str:
    first = ", ".join(f"{size} ({count:,})" for size, count in list(sizes.items())[:2])
    return first + (f" and {len(sizes) - 2:,} more" if len(sizes) > 2 else "")
