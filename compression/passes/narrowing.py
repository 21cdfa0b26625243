"""Choose how many channels each layer keeps, by how much they matter and by how much they save on a device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compression.passes.pruning import lamp

# Times that a choice is measured, and made again with lower limits where it exceeds them.
TRIES = 10
# By how much more the next choice should save than the missing share of what the last one saved.
MARGIN = 0.02
# Steps in which a layer loses its channels.
STEPS = 32

# For each measurement, its value at each point in time; the largest of them counts.
Measured = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Narrowing:
    """Widths of layers that keep the limits of a device.

    What a channel saves is measured on files with half of the channels of one layer each, and taken as proportional to
    their number. Channels that matter least for what they save are removed first.

    Args:
        widths: Present width of each layer, by path.
        lowest: Smallest width of each layer, by path.
        scores: Importance of each channel, (channels,), by path.
        measure: Function from the widths of narrower layers to what their file takes: for each limited measurement, an
            array with its value at each point in time, or with one value.
    """

    widths: Mapping[str, int]
    lowest: Mapping[str, int]
    scores: Mapping[str, Sequence[float]]
    measure: Callable[[Mapping[str, int]], Measured]

    def within(self, limits: Mapping[str, float]) -> dict[str, int]:
        """Return widths whose file keeps limits, or if none was found the smallest ones.

        Args:
            limits: Largest allowed value of each measurement, by name.
        """
        aims = dict(limits)
        for _ in range(TRIES):
            counts = self._chosen(aims, limits)
            if counts is None:
                break
            narrower = {path: count for path, count in counts.items() if count < self.widths[path]}
            found = self.measure(narrower) if narrower else self.full
            exceeded = [name for name, limit in limits.items() if found[name].max() > limit]
            if not exceeded:
                return counts
            for name in exceeded:
                before = self.full[name].max()
                saved = max(before - found[name].max(), 1e-3 * before)
                aims[name] = before - (before - aims[name]) * (1 + MARGIN) * (before - limits[name]) / saved
        return dict(self.lowest)

    @cached_property
    def full(self) -> Measured:
        """What the network takes as it is."""
        return self.measure({})

    @cached_property
    def saved(self) -> dict[str, dict[str, np.ndarray]]:
        """What each channel of a layer saves, by the layer's path and the name of the measurement."""
        found = {}
        for path, width in self.widths.items():
            half = max(self.lowest[path], width // 2)
            if half < width:
                measured = self.measure({path: half})
                found[path] = {
                    name: _difference(before, measured[name]) / (width - half) for name, before in self.full.items()
                }
        return found

    def _chosen(self, aims: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, int] | None:
        """Return widths that keep lower limits `aims` by what channels save; None if the smallest do not."""

        def excess_of(values: Measured) -> float:
            return sum(np.maximum(v - aims[name], 0).sum() / limits[name] for name, v in values.items())

        counts = dict(self.widths)
        values = {name: self.full[name].astype(float) for name in limits}
        orders = {path: lamp(self.scores[path]) for path in self.saved}
        while (excess := excess_of(values)) > 0:
            best, least = None, np.inf
            for path, each in self.saved.items():
                count = min(max(1, self.widths[path] // STEPS), counts[path] - self.lowest[path])
                if not count:
                    continue
                gone = self.widths[path] - counts[path]
                gain = excess - excess_of({name: v - count * each[name] for name, v in values.items()})
                if gain > 0 and (price := orders[path][gone : gone + count].sum() / gain) < least:
                    best, least = (path, count), price
            if best is None:
                return None
            path, count = best
            counts[path] -= count
            values = {name: v - count * self.saved[path][name] for name, v in values.items()}
        return counts


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return before - after; the difference of the maxima where the files have different numbers of steps."""
    return before - after if before.shape == after.shape else np.full(before.shape, before.max() - after.max())
