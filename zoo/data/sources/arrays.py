"""Arrays x and y in an .npz file."""

import zipfile
from pathlib import Path

import numpy as np

from zoo.console.errors import UsageError
from zoo.data.dataset import Kind, Split, as_float32, as_int32, check_finite

# Array names of each split. Published files such as Keras' mnist.npz use x_train.
PAIRS = {
    "all": ("x", "y"),
    "train": ("x_train", "y_train"),
    "validation": ("x_validation", "y_validation"),
    "test": ("x_test", "y_test"),
}


def read_npz(path: Path, labels: bool = True) -> tuple[Kind, dict[str, Split], tuple[str, ...] | None]:
    """Read an .npz file.

    Args:
        path: File with x and y, or with x_train, y_train and optionally x_test, y_test, x_validation and y_validation.
            It may also hold class_names. y holds class indices or class names.
        labels: Whether y is required. Without it, the labels are zeros.

    Returns:
        Kind of the inputs; {split: Split}, with a single split "all" if the file has no splits; and the class names,
        if the file has them.

    Raises:
        UsageError: If the file is not an .npz file, if x and y have different lengths, if a value is not finite, or if
            labels are neither integers nor texts.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(f"{path}: expected an .npz file of plain arrays: {error}") from None
    splits, kinds = {}, set()
    names = arrays.get("class_names")
    class_names = tuple(str(name) for name in names) if names is not None else None
    pairs = {s: pair for s, pair in PAIRS.items() if pair[0] in arrays}
    for split, (x_name, y_name) in pairs.items():
        x = arrays[x_name]
        if labels and y_name not in arrays:
            raise UsageError(f"{path}: expected an array {y_name!r} beside {x_name!r}, received {', '.join(arrays)}")
        y = arrays[y_name] if labels else np.zeros(len(x), np.int32)
        if len(x) != len(y):
            raise UsageError(
                f"{path}: expected as many labels as examples, received {len(x)} {x_name}, {len(y)} {y_name}"
            )
        if y.dtype.kind == "U":
            class_names = class_names or tuple(np.unique(y))
            if strange := set(np.unique(y)) - set(class_names):
                raise UsageError(f"{path}: class {min(strange)!r} of {y_name} is not in class_names or y_train")
            index = {name: i for i, name in enumerate(class_names)}
            y = np.array([index[name] for name in y], np.int32)
        elif y.dtype.kind not in "iu":
            raise UsageError(f"{path}: {y_name}: expected whole numbers or texts, received {y.dtype}")
        check_finite(f"{path}: {x_name}", x)
        kind, x = _kind(path, x_name, x)
        kinds.add(kind)
        splits[split] = Split(x, as_int32(f"{path}: {y_name}", y))
    if not splits or ("train" not in splits and "all" not in splits):
        raise UsageError(
            f"{path}: expected arrays x and y, or x_train and y_train; received {', '.join(arrays) or 'none'}"
        )
    if len(kinds) > 1:
        raise UsageError(f"{path}: expected the same kind of input in all splits, received {', '.join(sorted(kinds))}")
    return kinds.pop(), splits, class_names


def _kind(path: Path, name: str, x: np.ndarray) -> tuple[Kind, np.ndarray]:
    if x.dtype.kind in "iub" and x.ndim == 2:
        return "tokens", as_int32(f"{path}: {name}", x)
    if x.dtype.kind in "iub" and x.ndim in (3, 4):
        if x.size and (x.min() < 0 or x.max() > 255):
            raise UsageError(
                f"{path}: {name}: expected pixels from 0 to 255, received {x.min()} to {x.max()};"
                " store features as floats"
            )
        x = x.astype(np.uint8)
        return "image", x if x.ndim == 4 else x[..., None]
    kinds: dict[int, Kind] = {2: "vector", 3: "sequence", 4: "image"}
    if x.dtype.kind == "f" and x.ndim in kinds:
        return kinds[x.ndim], as_float32(f"{path}: {name}", x)
    raise UsageError(
        f"{path}: {name}: expected (examples, features), (examples, time, features) or (examples, height, width,"
        f" channels) numbers; received {x.dtype} of shape {x.shape}"
    )
