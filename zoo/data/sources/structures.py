"""Data for a model of one's own: any structure of arrays as inputs and labels, or inputs alone."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data import npz
from zoo.data.casts import as_float32, as_int32, check_finite
from zoo.data.dataset import Dataset, DataSpec, Split, check_ends, concatenated, leaves, mapped
from zoo.data.splits import hold_out_indices

TASK = "own_model"
SPLITS = ("train", "validation", "test")
# Range of pixels that `predict` sees when it is given bytes: it casts them.
AS_GIVEN = (0.0, 255.0)
TEST_SHARE = 0.2
BATCH = 256
_KNOWN = re.compile(r"[xy](_train|_validation|_test)?(\..+)?")
_FORMS = (
    '{"train": (x, y), "test": (x, y)} with arrays, dictionaries or tuples of arrays, or tf.data sets; (x, y);'
    " ((x_train, y_train), (x_test, y_test)); a tf.data.Dataset; or a Dataset"
)


def dataset(
    data: Any,
    *,
    name: str = "data",
    class_names: Sequence[str] | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> Dataset:
    """Return data for a model of one's own.

    Args:
        data: A mapping with train and, if there are any, validation and test, each (x, y), x alone or a finite
            `tf.data.Dataset`; one of these alone, of which a fifth is held out for testing; a pair of (x, y) for
            training and testing, as `keras.datasets` give it; or a `Dataset` of classes. x and y may be arrays, or
            dictionaries, tuples or lists of them.
        name: Name for titles.
        class_names: Names of the classes, in the order of the class indices.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes. Default: from 0 to
            255, as `predict` takes bytes; of a `Dataset`, its own.

    Raises:
        UsageError: Data of another form, other lengths, or values that are not finite.
    """
    if isinstance(data, Dataset):
        changes: dict[str, Any] = {"pixel_range": pixel_range} if pixel_range else {}
        changes |= {"class_names": tuple(class_names)} if class_names is not None else {}
        return dataclasses.replace(data, spec=dataclasses.replace(data.spec, task=TASK, **changes))
    parts = {
        split: _split(name if split == "all" else f"{name}: {split}", part) for split, part in _named(data).items()
    }
    if "all" in parts:
        whole = parts["all"]
        rest, held = hold_out_indices(len(whole), TEST_SHARE, "test")
        parts = {"train": whole.take(rest), "test": whole.take(held)}
    first = next(iter(parts.values()))
    none = first.take(np.arange(0))
    _check_alike(name, parts)
    array = first.x if isinstance(first.x, np.ndarray) else None
    is_image = array is not None and array.dtype == np.uint8 and array.ndim == 4
    spec = DataSpec(
        name,
        "image" if is_image else "arrays",
        array.shape[1:] if array is not None else (),
        tuple(map(str, class_names or ())),
        task=TASK,
        pixel_range=pixel_range or AS_GIVEN,
    )
    return Dataset(spec, **{split: parts.get(split, none) for split in SPLITS})


def read(path: Path, **options: Any) -> Dataset:
    """Return the data of an .npz file.

    Args:
        path: File with x_train and, if there are labels, y_train, and likewise for test and validation; or x and y.
            Several inputs are called x_train.NAME, several outputs y_train.NAME. It may also hold class_names.
        options: Keyword arguments of `dataset`.

    Raises:
        UsageError: Not such a file.
    """
    _, listed = npz.read(path, ())
    arrays, _ = npz.read(path, [name for name in listed if name == "class_names" or _KNOWN.fullmatch(name)])
    if strange := [name for name in listed if name not in arrays]:
        raise UsageError(
            f"{path}: expected arrays x and y, or x_train, y_train, x_test and y_test, and x_train.NAME for several"
            f" inputs; received {strange[0]!r}"
        )
    names = arrays.pop("class_names", None)
    found: dict[str, tuple[Any, Any]] = {}
    for split in ("train", "validation", "test", "all"):
        ends = "" if split == "all" else f"_{split}"
        x, y = (_structured(arrays, f"{side}{ends}") for side in "xy")
        if x is not None:
            found[split] = (x, y)
        elif y is not None:
            raise UsageError(f"{path}: expected x{ends} beside y{ends}, found none")
    if not found:
        raise UsageError(f"{path}: expected arrays x and y, or x_train, y_train, x_test and y_test; received none")
    if {"all", "train"} <= found.keys():
        raise UsageError(f"{path}: expected x, or x_train, received both; join them, or leave one out")
    class_names = None if names is None else [str(each) for each in names]
    return dataset(found.get("all", found), **{"name": path.stem, "class_names": class_names} | options)


def read_inputs(path: Path) -> Any:
    """Return the examples of an .npz file: the array x, or the arrays x.NAME by name. Others are not read.

    Raises:
        UsageError: There are none, or they are not numbers of one length.
    """
    _, listed = npz.read(path, ())
    arrays, _ = npz.read(path, [name for name in listed if name == "x" or name.startswith("x.")])
    x = _structured(arrays, "x")
    if x is None:
        raise UsageError(f"{path}: expected an array x, or x.NAME for each input, received {few(listed)}")
    return inputs(str(path), x)


def inputs(name: str, x: Any) -> Any:
    """Return examples without labels as a split has them: bytes, float32 or int32, in their structure.

    Args:
        name: Name for messages.
        x: Array, or a dictionary, tuple or list of arrays; or a finite `tf.data.Dataset` of them.

    Raises:
        UsageError: They are not finite numbers, or not of one length.
    """
    return _split(name, x if hasattr(x, "element_spec") else (x, None)).x


def _structured(arrays: dict[str, np.ndarray], name: str) -> Any:
    """Take an array, or the arrays whose names begin with `name.`, out of a mapping; None if there are none."""
    if name in arrays:
        return arrays.pop(name)
    parts = [key for key in arrays if key.startswith(f"{name}.")]
    return {key.removeprefix(f"{name}."): arrays.pop(key) for key in parts} or None


def _named(data: Any) -> dict[str, Any]:
    """Return the parts of data by split; "all" if they are not split."""
    if isinstance(data, Mapping) and set(data) & set(SPLITS):
        if strange := sorted(set(data) - set(SPLITS)):
            raise UsageError(f"data: expected train, validation and test, received {strange[0]!r}")
        return dict(data)
    pairs = isinstance(data, tuple | list) and len(data) == 2
    if pairs and all(isinstance(part, tuple | list) and len(part) == 2 for part in data):
        return {"train": data[0], "test": data[1]}
    if pairs and all(hasattr(part, "element_spec") for part in data):
        return {"train": data[0], "test": data[1]}
    if pairs or hasattr(data, "element_spec") or isinstance(data, np.ndarray | Mapping):
        return {"all": data}
    raise UsageError(f"data: expected {_FORMS}, received {type(data).__name__}")


def _split(name: str, part: Any) -> Split:
    if hasattr(part, "element_spec"):
        x, y = _collected(name, part)
    elif isinstance(part, tuple | list) and len(part) == 2:
        x, y = part
    elif isinstance(part, tuple | list):
        raise UsageError(f"{name}: expected (x, y) or x, received {len(part)} parts; sample weights are not taken")
    else:
        x, y = part, None
    x, y = mapped(lambda a: _input(name, np.asarray(a)), x), mapped(lambda a: _label(name, np.asarray(a)), y)
    found = [(len(array), side) for side, arrays in (("x", x), ("y", y)) for array in leaves(arrays)]
    lengths = {length for length, _ in found}
    if not any(lengths):
        raise UsageError(f"{name}: expected at least one example, received none")
    if len(lengths) > 1:
        received = few([f"{length} in {side}" for length, side in found])
        raise UsageError(f"{name}: expected arrays of one length, received {received}")
    return Split(x, y)


def _input(name: str, x: np.ndarray) -> np.ndarray:
    _check_numbers(name, x)
    if x.dtype == np.uint8:
        return x
    return as_float32(name, x) if x.dtype.kind == "f" else as_int32(name, x)


def _label(name: str, y: np.ndarray) -> np.ndarray:
    _check_numbers(f"{name}: labels", y)
    return as_float32(name, y) if y.dtype.kind == "f" else as_int32(name, y)


def _check_numbers(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "fiub":
        cure = "; give class indices, and class_names" if array.dtype.kind == "U" else ""
        raise UsageError(f"{name}: expected numbers, received {array.dtype} of shape {array.shape}{cure}")
    if not array.ndim:
        raise UsageError(
            f"{name}: expected an array of examples, received a single number; a list or a tuple stands for several"
            " arrays: make one of it by numpy.asarray"
        )
    check_finite(name, array)


def _collected(name: str, batches: Any) -> tuple[Any, Any]:
    """Return the examples and the labels of a `tf.data.Dataset`, batched or not, in their order."""
    check_ends(name, batches)
    spec = batches.element_spec
    if isinstance(spec, tuple) and len(spec) > 2:
        raise UsageError(
            f"{name}: expected (x, y) in each batch, received {len(spec)} parts; sample weights are not taken: leave"
            " them out by .map(lambda x, y, weight: (x, y))"
        )
    if not _batched(leaves(spec)):
        batches = batches.batch(BATCH)
    parts = list(_arrays(batches))
    if not parts:
        raise UsageError(f"{name}: expected batches of examples, received none")
    joined = _joined(name, parts)
    return joined if isinstance(spec, tuple) and len(spec) == 2 else (joined, None)


def _batched(specs: Sequence[Any]) -> bool:
    """Whether tensors have a batch axis: all begin with an axis of one length, or of a length that is not known."""
    firsts = {tuple(spec.shape)[:1] for spec in specs}
    return len(firsts) == 1 and firsts != {()} and (firsts == {(None,)} or len(specs) > 1)


def _arrays(batches: Iterable[Any]) -> Iterable[Any]:
    return (mapped(np.asarray, batch) for batch in batches)


def _joined(name: str, parts: Sequence[Any]) -> Any:
    """Concatenate the arrays of equal structures."""
    columns = iter([concatenated(name, column) for column in zip(*map(leaves, parts), strict=True)])
    ordered = {id(array): column for array, column in zip(leaves(parts[0]), columns, strict=True)}
    return mapped(lambda array: ordered[id(array)], parts[0])


def _check_alike(name: str, parts: Mapping[str, Split]) -> None:
    """Raise UsageError unless all splits have arrays of the same shapes."""
    shapes = {split: [array.shape[1:] for array in (*leaves(part.x), *leaves(part.y))] for split, part in parts.items()}
    (first, expected), *others = shapes.items()
    for split, found in others:
        if found != expected:
            raise UsageError(
                f"{name}: expected the shapes of {first}, {expected}, in {split} as well, received {found}"
            )
