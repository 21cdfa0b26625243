"""Rehearsal buffer: a uniform sample of all examples seen so far."""

from dataclasses import dataclass

import numpy as np

from zoo.data import Split
from zoo.data.batches.steps import generator


@dataclass
class Reservoir:
    """Reservoir sample, uniform and without replacement, of a stream of unknown length (algorithm R, Vitter, 1985).

    Args:
        x: Inputs in the format of a `Split`, (kept, ...).
        y: Class indices, (kept,) int32.
        numbers: Position of each example in the stream, from 1, (kept,) int64; 0 for examples of the training split.
        capacity: Maximum number of examples to keep.
        seen: Number of examples seen so far.
    """

    x: np.ndarray
    y: np.ndarray
    numbers: np.ndarray
    capacity: int
    seen: int

    @classmethod
    def of(cls, split: Split, capacity: int, seed: int) -> "Reservoir":
        """Return the reservoir after all examples of a split."""
        chosen = np.sort(generator(seed, 0).permutation(len(split))[:capacity])
        start = split.take(chosen)
        return cls(start.x, start.y, np.zeros(len(chosen), np.int64), capacity, len(split))

    def __len__(self) -> int:
        return len(self.y)

    def add(self, examples: Split, numbers: np.ndarray, random: np.random.Generator) -> None:
        """Add examples, of which the n-th ever seen is kept with probability capacity / n.

        Args:
            examples: New examples.
            numbers: Position of each example in the stream.
            random: Random number generator.
        """
        if not self.capacity:
            return
        places = random.integers(0, self.seen + 1 + np.arange(len(examples)))
        self.seen += len(examples)
        for i, place in enumerate(places):
            if len(self) < self.capacity:
                self.x = np.concatenate([self.x, examples.x[i : i + 1]])
                self.y = np.append(self.y, examples.y[i])
                self.numbers = np.append(self.numbers, numbers[i])
            elif place < self.capacity:
                self.x[place], self.y[place], self.numbers[place] = examples.x[i], examples.y[i], numbers[i]

    def sample(self, count: int, random: np.random.Generator) -> Split:
        """Return random examples to rehearse, without repetition if the reservoir holds enough of them."""
        chosen = random.choice(len(self), count, replace=count > len(self))
        return Split(self.x[chosen], self.y[chosen])

    def forget_before(self, number: int) -> None:
        """Discard the examples before a position of the stream; later examples fill their places."""
        kept = self.numbers >= number
        self.x, self.y, self.numbers = self.x[kept], self.y[kept], self.numbers[kept]
        self.seen = len(self)
