"""The arrays of an HDF5 file, looked at before any of them is read."""

import math
from collections.abc import Iterator
from typing import Any

from zoo.isolation.archive import MOST_EXPANSION, SMALL


def datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path of each dataset of an open file with the dataset, or with a word for what is none.

    Args:
        file: Open `h5py.File`.
    """
    import h5py

    groups, seen = [("", file)], set()
    while groups:
        path, group = groups.pop()
        for name in group:
            inner = f"{path}/{name}".lstrip("/")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                yield inner, "a link"
                continue
            member = group[name]
            if isinstance(member, h5py.Group):
                address = h5py.h5o.get_info(member.id).addr
                if address not in seen:  # a group may contain itself
                    seen.add(address)
                    groups.append((inner, member))
            elif not isinstance(member, h5py.Dataset) or member.external or member.is_virtual:
                yield inner, "stored outside the file"
            else:
                yield inner, member


def refusal(file: Any) -> str:
    """Return why the arrays of an open file are not read; an empty text if they may be.

    Args:
        file: Open `h5py.File`.
    """
    for path, dataset in datasets(file):
        if isinstance(dataset, str):
            return f"{path} is {dataset}, which Keras does not write"
        packed, unpacked = dataset.id.get_storage_size(), math.prod(dataset.shape) * dataset.dtype.itemsize
        if unpacked > max(SMALL, MOST_EXPANSION * packed):
            return f"{path} has {packed:,} bytes and unpacks to {unpacked:,}, more than {MOST_EXPANSION} times as much"
    return ""
