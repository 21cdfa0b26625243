"""Stratified splits that depend only on the labels, so that every run on the same data holds out the same examples."""

import numpy as np

from zoo.console.errors import UsageError
from zoo.data.dataset import Split

# Fixed, because with the training seed a run with another seed would train on this run's test examples.
SPLIT_SEED = 0


def hold_out_indices(count: int, share: float, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of (the rest, the held-out examples) for examples without classes.

    Args:
        count: Number of examples.
        share: Share of the examples to hold out, in [0, 1).
        what: "validation" or "test", for the message.
    """
    rest, held = hold_out(Split(np.arange(count), np.zeros((count, 0), np.int32)), share, what, ())
    return rest.x, held.x


def hold_out(split: Split, share: float, what: str, class_names: tuple[str, ...]) -> tuple[Split, Split]:
    """Return (the rest, the held-out examples), stratified by class.

    Args:
        split: All examples.
        share: Share of the examples to hold out, in [0, 1).
        what: "validation" or "test", for the message.
        class_names: Class names, for the message.

    Raises:
        UsageError: If a class has too few examples for both sides.
    """
    if not share:
        return split, split.take(np.arange(0))
    from sklearn.model_selection import train_test_split

    stratify = split.y if split.y.ndim == 1 else None
    if stratify is not None:
        counts = np.bincount(split.y)
        single = np.flatnonzero(counts == 1)
        if len(single):
            raise UsageError(
                f"class {class_names[single[0]]!r} has 1 example: a stratified {what} split needs at"
                f" least 2 of each class; add examples, or pass the split as separate data"
            )
    try:
        rest, held = train_test_split(
            np.arange(len(split)), test_size=share, stratify=stratify, random_state=SPLIT_SEED
        )
    except ValueError:
        classes = len(np.unique(stratify)) if stratify is not None else 1
        raise UsageError(
            f"--{what}-split {share:g}: expected at least {classes} examples, one of each class, on each side of the"
            f" split, received {len(split)} examples in total"
        ) from None
    return split.take(np.sort(rest)), split.take(np.sort(held))
