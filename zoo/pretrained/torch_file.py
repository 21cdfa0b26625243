"""Read the tensors of a file that torch.save wrote before PyTorch 1.6, without PyTorch.

Such a file is a sequence of pickles and the raw values of the tensors behind them. A pickle can name any function of
any module; here only the names that a dictionary of tensors needs are known, and nothing else is called.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zoo.console.errors import UsageError

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor(NamedTuple):
    key: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in values

    def of(self, storage: np.ndarray) -> np.ndarray:
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if not all(number >= 0 for number in (self.offset, *self.shape, *self.strides)) or last >= storage.size:
            raise pickle.UnpicklingError("a tensor lies outside of its values")
        steps = [step * storage.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps, writeable=False).copy()


class _Reader(pickle.Unpickler):
    """Unpickler that knows an ordered dictionary, two kinds of storage, and how a tensor is described."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _described
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"it stores a {kind}")
        return key, dtype, count


def _described(storage: tuple, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    key, dtype, _ = storage
    return _Tensor(key, dtype, offset, tuple(shape), tuple(strides))


def tensors(content: bytes, source: object) -> dict[str, np.ndarray]:
    """Return the tensors of a file by name.

    Args:
        content: Content of the file.
        source: Its name, for the message.

    Raises:
        UsageError: It is no such file, or holds more than tensors.
    """
    stream = io.BytesIO(content)

    def loaded(check: Callable[[Any], bool]) -> Any:
        found = _Reader(stream).load()
        if not check(found):
            raise pickle.UnpicklingError("a part of it is missing")
        return found

    try:
        loaded(lambda found: found == MAGIC)
        loaded(lambda found: found == 1001)
        loaded(lambda found: isinstance(found, dict))
        described = loaded(lambda found: isinstance(found, OrderedDict))
        keys = loaded(lambda found: isinstance(found, list))
        dtypes = {tensor.key: tensor.dtype for tensor in described.values()}
        storages = {}
        for key in keys:
            count = int(np.frombuffer(stream.read(8), "<i8")[0])
            storages[key] = np.frombuffer(stream.read(count * dtypes[key].itemsize), dtypes[key], count)
        return {name: tensor.of(storages[tensor.key]) for name, tensor in described.items()}
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise UsageError(f"{source}: expected tensors that torch.save wrote before PyTorch 1.6; {error}") from None
