"""The record of a data set, made from its splits and from what its source has counted."""

import numpy as np

from zoo.data import marks
from zoo.data.dataset import Dataset
from zoo.data.digests import SPLITS
from zoo.data.reading import Reading, Tally


def of(data: Dataset, tally: Tally | None = None) -> Reading:
    """Return the record of a data set.

    Args:
        data: Data set as read.
        tally: What its source has counted; None for data that were given as arrays.
    """
    tally = tally or Tally()
    classes, spec = tally.classes, data.spec
    counted = not classes and spec.class_names and spec.kind != "triples" and not spec.unlabelled
    if counted and data.captions is None:
        labels = [np.asarray(getattr(data, split).y) for split in SPLITS]
        if labels[0].dtype.kind == "f":  # several labels an example, or images to imitate
            several = labels[0].ndim == 2 and labels[0].shape[1] == len(data.spec.class_names)
            counts = np.concatenate(labels).sum(0) if several else ()
        else:
            each = np.concatenate([part.reshape(-1) for part in labels]).astype(np.int64)
            counts = np.bincount(each, minlength=len(data.spec.class_names))
        classes = {name: int(count) for name, count in zip(data.spec.class_names, counts, strict=False)}
    return Reading(
        name=data.spec.name,
        unit="pictures" if data.spec.kind == "image" and tally.unit == "examples" else tally.unit,
        examples={split: tally.examples.get(split, len(getattr(data, split))) for split in SPLITS},
        classes=classes,
        left_out={reason: count for reason, count in sorted(tally.left_out.items()) if count},
        changed={what: count for what, count in sorted(tally.changed.items()) if count},
        sizes=dict(tally.sizes.most_common()),
        made=dict(tally.made),
        notes=tuple(tally.notes),
        kept=tally.kept,
        columns=tally.columns,
    )


def duplicates(data: Dataset) -> dict[str, int]:
    """Return how many examples of a split are in another one as well, by "validation in train" and so on.

    Two examples are the same if their decoded pixels, texts or numbers are; questions if their answers are, too.
    """
    answers = data.spec.kind in marks.QUESTIONS
    keys = {split: marks.as_keys(marks.of_split(getattr(data, split), answers)) for split in SPLITS}
    found = {}
    for one, other in (("validation", "train"), ("test", "train"), ("test", "validation")):
        if count := int(np.isin(keys[one], keys[other]).sum()):
            found[f"{one} in {other}"] = count
    return found
