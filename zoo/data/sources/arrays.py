"""Arrays x and y in an .npz file."""

import collections
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.config.task_facts import Fit
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import npz
from zoo.data.casts import as_float32, as_int32, as_pixels, check_apart, check_finite, check_tokens, plain_names
from zoo.data.dataset import Kind, Split
from zoo.data.fitting import resize
from zoo.data.reading import Tally
from zoo.data.sources.folders import SPLITS

# Array names of each split. Published files such as Keras' mnist.npz use x_train.
PAIRS = {
    "all": ("x", "y"),
    "train": ("x_train", "y_train"),
    "validation": ("x_validation", "y_validation"),
    "test": ("x_test", "y_test"),
}
CLASS_NAMES = "class_names"
# Names of arrays: x or y, alone or with a name that folders of a split may have.
_NAME = re.compile(rf"([xy])(?:_({'|'.join(SPLITS)}))?", re.IGNORECASE)
# Numbers of channels that files of pictures have, with transparency as well.
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Part:
    """The arrays of one split.

    Args:
        x: Inputs in the type of their kind, (examples, ...).
        y: Labels as they are stored, (examples, ...); None if they were not asked for.
        shape: Shape of the inputs as they are stored.
        x_name: Name of the array of inputs.
        y_name: Name of the array of labels.
    """

    x: np.ndarray
    y: np.ndarray | None
    shape: tuple[int, ...]
    x_name: str
    y_name: str


def place_of(name: str) -> tuple[str, str] | None:
    """Return the split and the side, x or y, that the name of an array says; None for another name."""
    found = _NAME.fullmatch(name)
    return found and (SPLITS[found[2].lower()] if found[2] else "all", found[1].lower())


def read_parts(
    path: Path, tally: Tally, labels: bool = True, also: Collection[str] = ()
) -> tuple[Kind, dict[str, Part], dict[str, np.ndarray]]:
    """Read the arrays of an .npz file that hold examples.

    Args:
        path: File with x and y; or with x_train and y_train and, if there are any, those of validation and test.
        tally: Takes what was changed, and the arrays that are not used.
        labels: Whether y is required and read.
        also: Names of other arrays to read.

    Returns:
        Kind of the inputs; the arrays of each split, "all" if there are no splits; and the other arrays.

    Raises:
        UsageError: The file is damaged, lacks an array or has one twice, or the inputs are of no kind, of several, or
            not finite. The message names the file and the array.
    """
    _, listed = npz.read(path, ())
    names = _names(path, listed)
    found, _ = npz.read(path, [*(name for (_, side), name in names.items() if labels or side == "x"), *also])
    splits = [split for split in PAIRS if (split, "x") in names]
    if not {"train", "all"} & set(splits):
        raise UsageError(f"{path}: expected arrays x and y, or x_train and y_train; received {few(listed) or 'none'}")
    for (split, side), name in names.items() if labels else ():
        other = "y" if side == "x" else "x"
        if (split, other) not in names:
            raise UsageError(f"{path}: expected an array {other + name[1:]!r} beside {name!r}, received {few(listed)}")
    if {"train", "all"} <= set(splits):
        raise UsageError(f"{path}: expected x, or {names['train', 'x']}, received both; join them, or leave one out")
    if unused := [name for name in listed if place_of(name) is None and name not in also]:
        tally.notes.append(f"arrays that are not used: {few(unused)}")
    kind, inputs = inputs_of(path, {names[split, "x"]: found[names[split, "x"]] for split in splits}, tally)
    parts = {}
    for split in splits:
        x_name, y_name = names[split, "x"], names.get((split, "y"), "y")
        parts[split] = Part(inputs[x_name], found.get(y_name), found[x_name].shape, x_name, y_name)
    return kind, parts, {name: found[name] for name in also if name in found}


def _names(path: Path, listed: Collection[str]) -> dict[tuple[str, str], str]:
    """Return the name of the array of each split and side that a file has."""
    found: dict[tuple[str, str], str] = {}
    for name in listed:
        if (place := place_of(name)) is None:
            continue
        if place in found:
            raise UsageError(f"{path}: expected one array {place[1]} of a split, received {found[place]} and {name}")
        found[place] = name
    return found


def read_npz(
    path: Path, labels: bool = True, tally: Tally | None = None
) -> tuple[Kind, dict[str, Split], tuple[str, ...] | None]:
    """Read an .npz file.

    Args:
        path: File with x and y, or with x_train, y_train and, if there are any, those of validation and test; see
            `place_of`. It may also hold class_names. y holds class indices or class names.
        labels: Whether y is required. Without it, the labels are zeros.
        tally: Takes the number of labels that were in another form, and what else was changed and assumed.

    Returns:
        Kind of the inputs; {split: Split}, with a single split "all" if the file has no splits; and the class names,
        if the file has them.

    Raises:
        UsageError: If the file is damaged, if x and y have different lengths, if a value is not finite, or if labels
            are neither integers nor texts. The message names the file and the array.
    """
    tally = tally or Tally()
    kind, parts, others = read_parts(path, tally, labels, (CLASS_NAMES,))
    splits, class_names = {}, _class_names(path, others.get(CLASS_NAMES))
    for split, part in parts.items():
        x, y_name = part.x, part.y_name
        y = part.y if labels else np.zeros(len(x), np.int32)
        if y.ndim and len(y) == len(x):
            y = _classes_of(f"{path}: {y_name}", kind, part.shape, y, tally)
        if y.ndim not in (1, 2):
            raise UsageError(
                f"{path}: {y_name}: expected a label for each example or time step, received the shape {y.shape}"
            )
        if len(x) != len(y):
            raise UsageError(
                f"{path}: expected as many labels as examples, received {len(x)} {part.x_name}, {len(y)} {y_name}"
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
            whole = y.dtype == bool or (y.dtype.kind == "f" and (y == np.round(y)).all())
            cure = f"store {y_name}.astype('int32')" if whole else "numbers are learnt with --task regression"
            raise UsageError(
                f"{path}: {y_name}: expected whole numbers or texts as classes, received {y.dtype}; {cure}"
            )
        splits[split] = Split(x, as_int32(f"{path}: {y_name}", y))
    return kind, splits, class_names


def without_labels(path: Path) -> bool:
    """Return whether an .npz file has examples, and labels of none of them."""
    _, listed = npz.read(path, ())
    return {place[1] for name in listed if (place := place_of(name))} == {"x"}


def _classes_of(where: str, kind: Kind, shape: tuple[int, ...], y: np.ndarray, tally: Tally) -> np.ndarray:
    """Return labels (examples,) or (examples, time) for labels in a column or one-hot, which are told of.

    Raises:
        UsageError: Labels of two axes that are neither, nor one for each time step.
    """
    if y.ndim != 2:
        return y
    if y.shape[1] == 1:
        tally.changed["labels from a column (examples, 1)"] += len(y)
        return y[:, 0]
    steps = kind in ("tokens", "sequence") and y.shape[1] == shape[1]
    numbers = y.dtype.kind in "biuf" and np.isin(y, (0, 1)).all()
    one_hot = numbers and (y.sum(1) == 1).all()
    if not steps and one_hot:
        tally.changed["one-hot labels read as classes"] += len(y)
        return y.argmax(1)
    if not steps:
        several = "; an example has one class, these mark several" if numbers else ""
        raise UsageError(
            f"{where}: expected a label for each example (examples,), or for each time step, received the shape"
            f" {y.shape} for inputs {shape}{several}"
        )
    if one_hot:
        tally.notes.append(
            f"{where} of shape {y.shape} has one 1 in each row and is read as a label for each of the {y.shape[1]} time"
            " steps; if it is one-hot, store y.argmax(1)"
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


def inputs_of(path: Path, arrays: Mapping[str, np.ndarray], tally: Tally) -> tuple[Kind, dict[str, np.ndarray]]:
    """Return the kind of inputs by their type and their axes, and the inputs in the type of that kind.

    Args:
        path: File, for messages.
        arrays: Inputs of each split by the name of the array, (examples, ...).
        tally: Takes what was changed and assumed.

    Raises:
        UsageError: Inputs of another form, or of several kinds.
    """
    for name, x in arrays.items():
        if not x.ndim or 0 in x.shape[1:]:
            raise UsageError(f"{path}: {name}: expected examples of one value or more, received the shape {x.shape}")
        check_finite(f"{path}: {name}", x)
    kinds = {_kind_of(f"{path}: {name}", x) for name, x in arrays.items()}
    if len(kinds) > 1:
        raise UsageError(f"{path}: expected the same kind of input in all splits, received {', '.join(sorted(kinds))}")
    (kind,) = kinds
    if kind == "image":
        pictures = {name: x if x.ndim == 4 else x[..., None] for name, x in arrays.items()}
        for name, x in pictures.items():
            _check_axes(f"{path}: {name}", x)
        return kind, as_pixels(str(path), pictures, tally)
    if kind != "tokens":
        numbers = {name: as_float32(f"{path}: {name}", x) for name, x in arrays.items()}
        for name, x in arrays.items():
            check_apart(f"{path}: {name}", x)
        return kind, numbers
    ids = {name: as_int32(f"{path}: {name}", x) for name, x in arrays.items()}
    for name, x in ids.items():
        check_tokens(f"{path}: {name}", x)
    largest = max(int(x.max(initial=0)) for x in ids.values())
    tally.notes.append(f"its whole numbers are read as token ids from 0 to {largest:,}; store features as floats")
    return kind, ids


def _kind_of(where: str, x: np.ndarray) -> Kind:
    whole = x.dtype.kind in "iub"
    kinds: dict[int, Kind] = (
        {2: "tokens", 3: "image", 4: "image"} if whole else {2: "vector", 3: "sequence", 4: "image"}
    )
    if x.dtype.kind in "iubf" and x.ndim in kinds:
        return kinds[x.ndim]
    raise UsageError(
        f"{where}: expected (examples, features), (examples, time, features) or (examples, height, width, channels)"
        f" numbers; received {x.dtype} of shape {x.shape}"
    )


def _check_axes(where: str, x: np.ndarray) -> None:
    """Raise UsageError for pictures (examples, channels, height, width): fewer channels than rows, and many columns."""
    _, first, second, last = x.shape
    strip = first == 1 and second != last  # of one row and many channels, such as samples of sensors
    if first in _CHANNELS and second > first and last > max(_CHANNELS) and not strip:
        raise UsageError(
            f"{where}: expected pictures (examples, height, width, channels), received the shape {x.shape}, which has"
            " the channels first; store x.transpose(0, 2, 3, 1)"
        )


def sized(config: TrainConfig, kind: str, splits: Mapping[str, Split], fit: Fit) -> dict[str, Split]:
    """Return splits with pictures of `--image-size`, if it is given."""
    if config.image_size is None or kind != "image":
        return dict(splits)
    size = (config.image_size, config.image_size)
    return {name: Split(np.stack([resize(one, size, fit) for one in part.x]), part.y) for name, part in splits.items()}
