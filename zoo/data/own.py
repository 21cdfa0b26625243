"""Arrays and `tf.data` sets as data of one's own: written to a file once, so that every command finds them again."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.data import npz
from zoo.data.dataset import Dataset, check_ends, concatenated
from zoo.data.sources.arrays import PAIRS, place_of
from zoo.system.files import replacing

_FORMS = (
    "(x, y), ((x_train, y_train), (x_test, y_test)), a mapping of arrays such as x_train, a Dataset or a"
    " tf.data.Dataset"
)


def saved(data: Any, folder: Path, class_names: Sequence[str] | None = None) -> Path:
    """Write arrays to `folder/arrays-DIGEST.npz`, unless they are there, and return the path.

    Args:
        data: `(x, y)`; `((x_train, y_train), (x_test, y_test))`, as `keras.datasets` give it; a mapping with the names
            that `zoo.data.sources.arrays.place_of` knows; a finite, batched `tf.data.Dataset` of (x, y), alone or in
            place of each pair; or a `Dataset` of classes without a vocabulary. x has shape (examples, ...), y
            (examples,) or (examples, time).
        folder: Folder of the file.
        class_names: Names of the classes, in the order of the class indices.

    Raises:
        UsageError: Data of another form, or a set without examples.
    """
    if isinstance(data, Dataset):
        class_names = class_names or data.spec.class_names
    arrays = _named(data)
    if class_names is not None:
        arrays["class_names"] = np.array(list(class_names))
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        if array.dtype.kind not in npz.KINDS:
            what = "objects" if array.dtype == object else str(array.dtype)
            raise UsageError(f"data: expected arrays of numbers, received {what} in {name}")
        if not array.ndim:
            raise UsageError(f"data: expected {name} of shape (examples, ...), received a single value")
        if not len(array) and name in (*PAIRS["all"], *PAIRS["train"]):
            raise UsageError(f"data: expected at least one example, received none in {name}")
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    path = folder / f"arrays-{digest.hexdigest()[:12]}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    return path


def _named(data: Any) -> dict[str, np.ndarray]:
    """Return arrays by the names that an .npz file of one's own gives them."""
    if isinstance(data, Dataset):
        if data.vocabulary is not None or data.captions is not None or data.spec.kind in ("pairs", "triples"):
            raise UsageError(
                f"data: expected a Dataset of arrays and classes, received {data.spec.kind}; give its path"
            )
        splits = {split: getattr(data, split) for split in ("train", "validation", "test")}
        return {
            name: array
            for split, part in splits.items()
            if len(part)
            for name, array in zip(PAIRS[split], (part.x, part.y), strict=True)
        }
    if isinstance(data, Mapping):
        if strange := [name for name in data if place_of(name) is None]:
            known = [name for pair in PAIRS.values() for name in pair]
            raise UsageError(f"data: expected arrays named {', '.join(sorted(known))}, received {strange[0]!r}")
        return {name: _array(name, array) for name, array in data.items()}
    if isinstance(data, (tuple, list)) and len(data) == 2:
        if all(_is_split(part) for part in data):
            return _pair("train", data[0]) | _pair("test", data[1])
        if all(hasattr(part, "shape") or isinstance(part, (tuple, list)) for part in data):
            return _pair("all", data)
    if _is_split(data):
        return _pair("all", data)
    raise UsageError(f"data: expected {_FORMS}, received {type(data).__name__}")


def _is_split(part: Any) -> bool:
    """Whether something is a split by itself: a pair of arrays, or batches of (x, y)."""
    pair = isinstance(part, (tuple, list)) and len(part) == 2 and all(hasattr(array, "shape") for array in part)
    return pair or (isinstance(part, Iterable) and hasattr(part, "element_spec"))


def _pair(split: str, part: Any) -> dict[str, np.ndarray]:
    arrays = _collected(part) if hasattr(part, "element_spec") else part
    return {name: _array(name, array) for name, array in zip(PAIRS[split], arrays, strict=True)}


def _array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:  # lists of different lengths
        raise UsageError(f"data: expected an array {name}, received values of different shapes: {error}") from None


def _collected(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the examples and labels of all batches of a `tf.data.Dataset`, in their order."""
    check_ends("data", batches)
    _check_elements(batches.element_spec)
    parts = [(_array("x", x), _array("y", y)) for x, y in batches]
    if not parts:
        raise UsageError("data: expected batches of (x, y), received none")
    if any(not x.ndim or not y.ndim or len(x) != len(y) for x, y in parts):
        raise UsageError("data: expected batches of (x, y), received single examples; call .batch(N) on the set")
    x, y = (concatenated(f"data: {name}", column) for name, column in zip("xy", zip(*parts, strict=True), strict=True))
    return x, y


def _check_elements(spec: Any) -> None:
    """Raise UsageError unless the elements of a `tf.data.Dataset` are pairs of an array of inputs and one of labels.

    Args:
        spec: Its `element_spec`.
    """
    if isinstance(spec, Mapping):
        names = list(map(repr, spec))
        given, cure = f"a dictionary with {few(names)}", "; call .map(lambda each: (each[INPUTS], each[LABELS]))"
    elif not isinstance(spec, tuple):
        given, cure = "x alone", "; labels are added by tf.data.Dataset.zip((x, y))"
    elif len(spec) == 3:
        given = "three parts"
        cure = (
            '; sample weights are not used here: leave them out by .map(lambda x, y, weight: (x, y)); class_weights="'
            'balanced" gives weights to classes'
        )
    elif len(spec) != 2:
        given, cure = f"{len(spec)} parts", ""
    elif any(isinstance(part, Mapping | tuple) for part in spec):
        given, cure = "several arrays of inputs or labels", "; compression.api.compress takes such data"
    else:
        return
    raise UsageError(f"data: expected elements (x, y) of the tf.data.Dataset, received {given}{cure}")
