"""Votes of the windows of a recording on the class of the whole."""

import numpy as np


def votes(p: np.ndarray, recordings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the recordings, and the class that most windows of each give; of equal ones the more probable.

    Args:
        p: Probabilities of the classes, (windows, classes).
        recordings: Recording of each window, (windows,).

    Returns:
        Recordings, increasing, and a class index for each, (recordings,) both.
    """
    names, places = np.unique(recordings, return_inverse=True)
    counts, sums = np.zeros((2, len(names), p.shape[-1]))
    np.add.at(counts, (places, p.argmax(-1)), 1)
    np.add.at(sums, places, p)
    return names, (counts + sums / (1 + sums.sum(-1, keepdims=True))).argmax(-1)


def scores(p: np.ndarray, y: np.ndarray, recordings: np.ndarray) -> dict[str, float]:
    """Return the share of recordings whose class the vote finds, and their number.

    Args:
        p: Probabilities of the classes, (windows, classes).
        y: Class of each window, (windows,); all windows of a recording have one.
        recordings: Recording of each window, (windows,).
    """
    names, found = votes(p, recordings)
    truth = y[np.unique(recordings, return_index=True)[1]]
    return {"recording_accuracy": float((found == truth).mean()), "recordings": len(names)}
