"""Random numbers that are a pure function of (seed, epoch, example), by a hash on 32-bit integers.

So a resumed run, another number of replicas or workers, and another backend draw the same numbers.
"""

from typing import Any

from keras import ops


class Draws:
    """Uniform random numbers of the examples of a batch.

    Args:
        seed: Random seed.
        epoch: Epoch of each example, or one for all, integers.
        index: Index of each example among the training examples, (batch,) integers.
        stream: Number that keeps these draws apart from others of the same examples.
    """

    def __init__(self, seed: int, epoch: Any, index: Any, stream: int = 0):
        index = ops.cast(index, "uint32")
        self._key = index, ops.cast(epoch, "uint32") + ops.zeros_like(index), ops.zeros_like(index) + _word(seed)
        self._count, self._left = stream << 16, []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Any:
        """Return the next number of every example, in [low, high), (batch,) float32."""
        if not self._left:
            counter = ops.zeros_like(self._key[0]) + _word(self._count)
            self._left, self._count = list(_pcg4d(*self._key, counter)), self._count + 1
        # 24 bits are what float32 holds exactly.
        number = ops.cast(ops.right_shift(self._left.pop(0), _word(8)), "float32") * 2.0**-24
        return low + (high - low) * number

    def sign(self) -> Any:
        """Return -1 or 1 for every example, (batch,) float32."""
        return 2 * self.integer(0, 1) - 1

    def integer(self, low: int, high: int) -> Any:
        """Return the next whole number of every example, from low to high, (batch,) float32."""
        return ops.minimum(ops.floor(self.uniform(low, high + 1)), high)


def _word(value: int) -> Any:
    return ops.convert_to_tensor(value, "uint32")


def _pcg4d(x: Any, y: Any, z: Any, w: Any) -> tuple[Any, Any, Any, Any]:
    """Return four random words for each four words (Jarzynski & Olano, "Hash functions for GPU rendering", 2020)."""
    x, y, z, w = (v * _word(1664525) + _word(1013904223) for v in (x, y, z, w))

    def mixed(x: Any, y: Any, z: Any, w: Any) -> tuple[Any, Any, Any, Any]:
        x = x + y * w
        y = y + z * x
        z = z + x * y
        return x, y, z, w + y * z

    return mixed(*(ops.bitwise_xor(v, ops.right_shift(v, _word(16))) for v in mixed(x, y, z, w)))
