"""Orders of training examples in which every class is equally frequent (`--sampling balanced`)."""

import numpy as np


def balanced(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the indices of as many examples as there are, equally many of each class, in random order.

    The examples of a class are taken in turn, in random order, so that none is there twice before all are there once.
    Where the classes do not divide the number of examples, random ones have one example more.

    Args:
        labels: Class of each example, (examples,).
        rng: Random generator.

    Returns:
        Indices (examples,) int64.
    """
    classes = np.unique(labels)
    counts = np.full(len(classes), len(labels) // len(classes))
    counts[rng.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    drawn = []
    for chosen, count in zip(classes, counts, strict=True):
        own = np.flatnonzero(labels == chosen)
        rounds = -(-count // len(own))
        drawn.append(np.concatenate([rng.permutation(own) for _ in range(rounds)] or [own])[:count])
    return rng.permutation(np.concatenate(drawn))
