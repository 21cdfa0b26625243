"""A buffer of examples to rehearse: at any time a uniform sample of all that were seen."""

from dataclasses import dataclass

import numpy as np

from zoo.data import Split
from zoo.data.batches.steps import generator


@dataclass
class Reservoir:
    """A uniform sample, without replacement, of a stream of unknown length: algorithm R of Vitter (1985).

    Args:
        x: (kept, ...), as a `Split` has them.
        y: (kept,) int32.
        numbers: which example of the stream each is, from 1, (kept,) int64; 0 for those of before it.
        capacity: most that are kept.
        seen: how many there were.
    """

    x: np.ndarray
    y: np.ndarray
    numbers: np.ndarray
    capacity: int
    seen: int

    @classmethod
    def of(cls, split: Split, capacity: int, seed: int) -> "Reservoir":
        """Return the sample after the examples of a split."""
        chosen = np.sort(generator(seed, 0).permutation(len(split))[:capacity])
        start = split.take(chosen)
        return cls(start.x, start.y, np.zeros(len(chosen), np.int64), capacity, len(split))

    def __len__(self) -> int:
        return len(self.y)

    def add(self, examples: Split, numbers: np.ndarray, random: np.random.Generator) -> None:
        """Show examples: the n-th that was ever seen is kept with probability capacity / n."""
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
        """Return examples to rehearse: no one twice where there are enough of them."""
        chosen = random.choice(len(self), count, replace=count > len(self))
        return Split(self.x[chosen], self.y[chosen])

    def forget_before(self, number: int) -> None:
        """Leave out the examples before this one of the stream; what follows fills their places."""
        kept = self.numbers >= number
        self.x, self.y, self.numbers = self.x[kept], self.y[kept], self.numbers[kept]
        self.seen = len(self)
