"""Prequential evaluation (test-then-train, Gama et al., 2013) and drift detection."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

WINDOW = 1000


class Prequential:
    """Accuracy over all and over the last 1,000 predictions, with drift detection by ADWIN (Bifet & Gavalda, 2007).

    The state of the detector is a pure function of the errors since its last reset. They are stored instead of it: one
    byte per error in memory, one bit in a checkpoint.
    """

    def __init__(self) -> None:
        self.examples, self.right = 0, 0
        self.recent: deque[int] = deque(maxlen=WINDOW)
        self._begin()

    def _begin(self) -> None:
        from river.drift import ADWIN  # optional dependency

        self.detector, self.since = ADWIN(), bytearray()

    @property
    def accuracy(self) -> float | None:
        """Accuracy of all predictions, None before the first."""
        return self.right / self.examples if self.examples else None

    @property
    def windowed(self) -> float | None:
        """Accuracy of the last 1,000 predictions, None before the first."""
        return 1 - sum(self.recent) / len(self.recent) if self.recent else None

    def add(self, errors: Iterable[bool]) -> list[dict[str, Any]]:
        """Add errors in order, and return the changes of accuracy that are detected.

        Args:
            errors: Whether each prediction was wrong.

        Returns:
            One dictionary for each change: `example`, the number of the example at which it was detected, from 1;
            `window`, the number of examples since the change as estimated by ADWIN; `accuracy_before` and
            `accuracy_after`.
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
        """Return the arrays of a checkpoint."""
        return {
            "prequential/counts": np.array([self.examples, self.right, len(self.since)]),
            "prequential/recent": np.array(self.recent, np.uint8),
            "prequential/since": np.packbits(np.frombuffer(self.since, np.uint8)),
        }

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Prequential":
        """Restore an object from the arrays of a checkpoint."""
        found = cls()
        found.examples, found.right, count = map(int, arrays["prequential/counts"])
        found.recent.extend(arrays["prequential/recent"].tolist())
        found.since = bytearray(np.unpackbits(arrays["prequential/since"])[:count].tobytes())
        for error in found.since:
            found.detector.update(error)
        return found
