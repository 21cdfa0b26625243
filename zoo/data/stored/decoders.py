"""How the bytes of an example become an array."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zoo.config.task_facts import Fit
from zoo.data import images


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures; see `zoo.data.images.decode`.

    Args:
        shape: (height, width, channels) of the results.
        fit: How a picture of another aspect ratio is brought to that shape.
    """

    shape: tuple[int, int, int]
    fit: Fit
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)

    @property
    def identity(self) -> Any:
        return ["picture", *self.shape, self.fit]

    def decode(self, content: bytes | memoryview) -> np.ndarray:
        return images.decode(bytes(content), self.shape[:2], self.shape[2], self.fit)


@dataclass(frozen=True)
class Numbers:
    """Numbers as they lie in memory, little-endian.

    Args:
        shape: Shape of an example.
        dtype: Type of the numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def identity(self) -> Any:
        return ["numbers", *self.shape, self.dtype.str]

    def decode(self, content: bytes | memoryview) -> np.ndarray:
        expected = int(np.prod(self.shape)) * self.dtype.itemsize
        if len(content) != expected:
            raise ValueError(
                f"expected {expected:,} bytes, {self.dtype} of shape {self.shape}, received {len(content):,}"
            )
        found = np.frombuffer(content, self.dtype).reshape(self.shape)
        if self.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError("expected finite numbers, received NaN or infinite ones")
        return found
