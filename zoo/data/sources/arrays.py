"""Arrays x and y in an .npz file."""

import collections
from pathlib import Path

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data import npz
from zoo.data.casts import as_float32, as_int32, as_uint8, check_finite, check_tokens, plain_names
from zoo.data.dataset import Kind, Split
from zoo.data.reading import Tally

# Array names of each split. Published files such as Keras' mnist.npz use x_train.
PAIRS = {
    "all": ("x", "y"),
    "train": ("x_train", "y_train"),
    "validation": ("x_validation", "y_validation"),
    "test": ("x_test", "y_test"),
}


def read_npz(
    path: Path, labels: bool = True, tally: Tally | None = None
) -> tuple[Kind, dict[str, Split], tuple[str, ...] | None]:
    """Read an .npz file.

    Args:
        path: File with x and y, or with x_train, y_train and optionally x_test, y_test, x_validation and y_validation.
            It may also hold class_names. y holds class indices or class names.
        labels: Whether y is required. Without it, the labels are zeros.
        tally: Takes the number of labels that were in another form.

    Returns:
        Kind of the inputs; {split: Split}, with a single split "all" if the file has no splits; and the class names,
        if the file has them.

    Raises:
        UsageError: If the file is damaged, if x and y have different lengths, if a value is not finite, or if labels
            are neither integers nor texts. The message names the file and the array.
    """
    wanted = {name for pair in PAIRS.values() for name in (pair if labels else pair[:1])}
    arrays, listed = npz.read(path, {*wanted, "class_names"})
    splits, kinds = {}, set()
    tally = tally or Tally()
    class_names = _class_names(path, arrays.get("class_names"))
    pairs = {s: pair for s, pair in PAIRS.items() if pair[0] in arrays}
    for split, (x_name, y_name) in pairs.items():
        x = arrays[x_name]
        if labels and y_name not in arrays:
            raise UsageError(f"{path}: expected an array {y_name!r} beside {x_name!r}, received {few(listed)}")
        if not x.ndim or 0 in x.shape[1:]:
            raise UsageError(f"{path}: {x_name}: expected examples of one value or more, received the shape {x.shape}")
        y = arrays[y_name] if labels else np.zeros(len(x), np.int32)
        if len(y) == len(x):
            y = _classes_of(f"{path}: {y_name}", x, y, tally)
        if y.ndim not in (1, 2):
            raise UsageError(
                f"{path}: {y_name}: expected a label for each example or time step, received the shape {y.shape}"
            )
        if len(x) != len(y):
            raise UsageError(
                f"{path}: expected as many labels as examples, received {len(x)} {x_name}, {len(y)} {y_name}"
            )
        if y.dtype.kind == "U":
            y = np.array(plain_names(y.reshape(-1).tolist(), "labels", tally)).reshape(y.shape)
            found, places = np.unique(y, return_inverse=True)
            class_names = class_names or tuple(map(str, found))
            if strange := set(map(str, found)) - set(class_names):
                raise UsageError(f"{path}: class {min(strange)!r} of {y_name} is not in class_names or y_train")
            index = {name: i for i, name in enumerate(class_names)}
            y = np.array([index[str(name)] for name in found], np.int32)[places.reshape(y.shape)]
        elif y.dtype.kind not in "iu":
            raise UsageError(f"{path}: {y_name}: expected whole numbers or texts, received {y.dtype}")
        check_finite(f"{path}: {x_name}", x)
        kind, x = kind_of(path, x_name, x)
        kinds.add(kind)
        splits[split] = Split(x, as_int32(f"{path}: {y_name}", y))
    if not splits or ("train" not in splits and "all" not in splits):
        raise UsageError(f"{path}: expected arrays x and y, or x_train and y_train; received {few(listed) or 'none'}")
    if len(kinds) > 1:
        raise UsageError(f"{path}: expected the same kind of input in all splits, received {', '.join(sorted(kinds))}")
    return kinds.pop(), splits, class_names


def without_labels(path: Path) -> bool:
    """Return whether an .npz file has examples, and labels of none of them."""
    _, listed = npz.read(path, ())
    return any(x in listed for x, _ in PAIRS.values()) and not any(y in listed for _, y in PAIRS.values())


def _classes_of(where: str, x: np.ndarray, y: np.ndarray, tally: Tally) -> np.ndarray:
    """Return labels (examples,) or (examples, time) for labels in a column or one-hot, which are told of.

    Raises:
        UsageError: Labels of two axes that are neither, nor one for each time step.
    """
    if y.ndim != 2:
        return y
    if y.shape[1] == 1:
        tally.changed["labels from a column (examples, 1)"] += len(y)
        return y[:, 0]
    steps = x.ndim in (2, 3) and y.shape[1] == x.shape[1] and not (x.ndim == 3 and x.dtype.kind in "iub")
    numbers = y.dtype.kind in "biuf" and np.isin(y, (0, 1)).all()
    if not steps and numbers and (y.sum(1) == 1).all():
        tally.changed["one-hot labels read as classes"] += len(y)
        return y.argmax(1)
    if not steps or (x.ndim == 2 and x.dtype.kind == "f"):
        several = "; an example has one class, these mark several" if numbers else ""
        raise UsageError(
            f"{where}: expected a label for each example (examples,), or for each time step, received the shape"
            f" {y.shape} for inputs {x.shape}{several}"
        )
    return y


def _class_names(path: Path, names: np.ndarray | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.ndim != 1 or not names.size:
        raise UsageError(f"{path}: class_names: expected a list of names, received the shape {names.shape}")
    listed = tuple(str(name) for name in names)
    name, count = collections.Counter(listed).most_common(1)[0]
    if count > 1:
        raise UsageError(f"{path}: class_names: expected each class once, received {name!r} {count} times")
    return listed


def kind_of(path: Path, name: str, x: np.ndarray) -> tuple[Kind, np.ndarray]:
    """Return the kind of inputs by their type and their axes, and the inputs in the type of that kind.

    Raises:
        UsageError: Inputs of another form.
    """
    if x.dtype.kind in "iub" and x.ndim == 2:
        ids = as_int32(f"{path}: {name}", x)
        check_tokens(f"{path}: {name}", ids)
        return "tokens", ids
    if x.dtype.kind in "iub" and x.ndim in (3, 4):
        x = as_uint8(f"{path}: {name}", x)
        return "image", x if x.ndim == 4 else x[..., None]
    kinds: dict[int, Kind] = {2: "vector", 3: "sequence", 4: "image"}
    if x.dtype.kind == "f" and x.ndim in kinds:
        return kinds[x.ndim], as_float32(f"{path}: {name}", x)
    raise UsageError(
        f"{path}: {name}: expected (examples, features), (examples, time, features) or (examples, height, width,"
        f" channels) numbers; received {x.dtype} of shape {x.shape}"
    )
