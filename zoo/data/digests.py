"""Digests of the examples that a training reads, by which a resumed training recognises them."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from zoo.config.task_facts import FIRST_FIT
from zoo.data.dataset import Dataset, Split, leaves

# Bytes that are made contiguous and hashed at a time, so that a memory-mapped split is never read whole.
BLOCK = 1 << 24
SPLITS = ("train", "validation", "test")
# Fields of a specification that version 0.1 did not have and that most data have not.
LATER = (
    *("series", "events", "columns", "hop", "rate", "mean", "std", "normal", "false_alarm_rate"),
    *("inputs", "targets", "means", "deviations", "quantiles", "unlabelled"),
)
# End of the name of a digest that is made of the hash of each example, which version 0.1 did not do.
BY_EXAMPLE = " by example"


def of_data(data: Dataset, splits: Sequence[str] = SPLITS) -> dict[str, str]:
    """Return a SHA-256 of each part of a data set, in hexadecimal.

    Covered are, in order, every value, the shape and the dtype of the inputs and labels of the splits; the captions of
    images; and of the specification all but the name: kind, shapes, the order of the class names, and the hashes of the
    vocabularies. Reference texts, which only scores are computed from, are not covered. The splits are hashed as they
    are read, before a batch shuffles, scales or augments them.

    Args:
        data: Data set.
        splits: Names of the splits to cover.

    Returns:
        Digests by name: the splits, "form" for the specification and, if there are any, "captions".
    """
    form = {name: value for name, value in data.spec.to_json().items() if name != "name"}
    if form["fit"] == FIRST_FIT:  # version 0.1 had no other
        del form["fit"]
    form = {name: value for name, value in form.items() if name not in LATER or value}
    found = {}
    for name in splits:
        split = getattr(data, name)
        found[name if split.marks is None else f"{name}{BY_EXAMPLE}"] = of_split(split)
    found["form"] = hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()
    if data.captions is not None:
        digest = hashlib.sha256(json.dumps([data.captions.texts, data.captions.of_class], default=int).encode())
        _update(digest, data.captions.ids)
        found["captions"] = digest.hexdigest()
    return found


def of_split(split: Split) -> str:
    """Return the SHA-256 of the inputs and labels of a split, in hexadecimal.

    Of examples that are read from files it is the hash of their marks, which is the same whether they are kept decoded
    or not.
    """
    digest = hashlib.sha256()
    if split.marks is not None:
        digest.update("".join(f"{leaf.dtype.str}{leaf.shape}" for leaf in leaves(split.x)).encode())
    for array in (*leaves(split.x if split.marks is None else split.marks), *leaves(split.y)):
        _update(digest, array)
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", values: np.ndarray) -> None:
    digest.update(f"{values.dtype.str}{values.shape}".encode())
    rows = max(1, BLOCK // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        digest.update(np.ascontiguousarray(values[start : start + rows]).reshape(-1).view(np.uint8))
