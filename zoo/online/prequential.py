"""Test, then train: the errors of predictions made before their example was learnt (Gama et al., 2013), and drift."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

WINDOW = 1000


class Prequential:
    """Counts errors, over all and over the last 1,000, and watches them by ADWIN (Bifet & Gavalda, 2007).

    The detector is a pure function of the errors since it last began anew, so these are its whole state: a byte each
    here, a bit each in a checkpoint.
    """

    def __init__(self) -> None:
        self.examples, self.right = 0, 0
        self.recent: deque[int] = deque(maxlen=WINDOW)
        self._begin()

    def _begin(self) -> None:
        from river.drift import ADWIN  # an extra

        self.detector, self.since = ADWIN(), bytearray()

    @property
    def accuracy(self) -> float | None:
        """The share of all predictions that were right; None before the first."""
        return self.right / self.examples if self.examples else None

    @property
    def windowed(self) -> float | None:
        """The same of the last 1,000."""
        return 1 - sum(self.recent) / len(self.recent) if self.recent else None

    def add(self, errors: Iterable[bool]) -> list[dict[str, Any]]:
        """Count errors in order, and return each change that they show.

        Returns:
            example: at which it was found, from 1; window: how many examples there were since it happened, as ADWIN
            says; accuracy_before and accuracy_after it.
        """
        changes = []
        for error in map(int, errors):
            self.examples += 1
            self.right += not error
            self.recent.append(error)
            self.since.append(error)
            self.detector.update(error)
            if self.detector.drift_detected:
                after = round(self.detector.width)
                before = self.since[: len(self.since) - after]
                changes.append(
                    {
                        "example": self.examples,
                        "window": after,
                        "accuracy_before": 1 - sum(before) / len(before),
                        "accuracy_after": 1 - self.detector.estimation,
                    }
                )
                self._begin()
        return changes

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint keeps."""
        return {
            "prequential/counts": np.array([self.examples, self.right, len(self.since)]),
            "prequential/recent": np.array(self.recent, np.uint8),
            "prequential/since": np.packbits(np.frombuffer(self.since, np.uint8)),
        }

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Prequential":
        """Return it as it was."""
        found = cls()
        found.examples, found.right, count = map(int, arrays["prequential/counts"])
        found.recent.extend(arrays["prequential/recent"].tolist())
        found.since = bytearray(np.unpackbits(arrays["prequential/since"])[:count].tobytes())
        for error in found.since:
            found.detector.update(error)
        return found
