"""Calibration of probabilities: expected calibration error, Brier score, temperature and reliability diagram."""

from typing import Any

import numpy as np

from zoo.console.errors import UsageError
from zoo.reports import page as report
from zoo.runs.inference import probabilities

BINS = 15  # as in Guo et al. (2017)
# Range of the search for a temperature; those of trained networks are typically 1 to 3, of hardly trained ones small.
COLDEST, HOTTEST = 1e-4, 1e4


def bins(p: np.ndarray, y: np.ndarray, count: int = BINS) -> np.ndarray:
    """Group examples by their highest probability into bins of equal width.

    Args:
        p: Probabilities, (examples, classes).
        y: Class indices, (examples,).
        count: Number of bins. Each bin includes its upper edge, and the first also includes 0.

    Returns:
        Mean highest probability, accuracy and number of examples of each bin, (bins, 3).
    """
    sure, right = p.max(-1), p.argmax(-1) == y
    place = np.clip(np.ceil(sure * count).astype(int) - 1, 0, count - 1)
    many = np.bincount(place, minlength=count)
    sums = [np.bincount(place, weights=values, minlength=count) for values in (sure, right)]
    return np.stack([*(total / np.maximum(many, 1) for total in sums), many], axis=-1)


def measured(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the calibration measures `ece`, `nll` and `brier`.

    They are the expected calibration error (Naeini et al., 2015), the negative log-likelihood in nats, and the Brier
    score (Brier, 1950).

    Args:
        logits: Logits, (examples, classes) or (examples, time, classes).
        y: Class indices, (examples,) or (examples, time).
    """
    p, y = _flat(logits, y)
    sure, right, many = bins(p, y).T
    return {
        "ece": float((many * abs(right - sure)).sum() / len(y)),
        "nll": float(-np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).tiny)).mean()),
        "brier": float(((p - np.eye(p.shape[-1])[y]) ** 2).sum(-1).mean()),
    }


def fitted_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature that maximises the likelihood of held-out labels (Guo et al., 2017).

    Args:
        logits: Logits of examples that nothing else was fitted to, (examples, classes) or (examples, time, classes).
        y: Class indices, (examples,) or (examples, time).

    Raises:
        UsageError: If every example is classified correctly, or if logits tell nothing about the labels, which leaves
            the likelihood without a maximum.
    """
    from scipy.optimize import minimize_scalar

    classes = logits.shape[-1]
    logits, y = logits.reshape(-1, classes).astype(np.float64), y.reshape(-1)
    if (logits.argmax(-1) == y).all():
        raise UsageError(
            f"calibration: expected at least one misclassified validation example, all {len(y):,} are classified"
            " correctly, so that no temperature fits best"
        )
    if logits[np.arange(len(y)), y].mean() <= logits.mean():  # the likelihood falls from the limit of high temperatures
        raise UsageError(
            f"calibration: expected logits of the validation labels above the others on average, in these {len(y):,}"
            " examples they are not, so that no temperature fits better than equal probabilities; train longer"
        )

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        highest = scaled.max(-1)
        return float(
            (highest + np.log(np.exp(scaled - highest[:, None]).sum(-1)) - scaled[np.arange(len(y)), y]).mean()
        )

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def diagram(parts: dict[str, np.ndarray], y: np.ndarray) -> Any:
    """Return a matplotlib figure with one reliability diagram, and a histogram below it, for each set of logits.

    Args:
        parts: Logits by title, (examples, classes) or (examples, time, classes).
        y: Class indices, (examples,) or (examples, time).
    """
    figure = report.figure(4.6 * len(parts), 4.6)
    axes = figure.subplots(2, len(parts), squeeze=False, height_ratios=(3, 1), sharex=True)
    for (title, logits), (above, below) in zip(parts.items(), axes.T, strict=True):
        sure, right, many = bins(*_flat(logits, y)).T
        middles, width, there = (np.arange(BINS) + 0.5) / BINS, 1 / BINS, many > 0
        above.plot([0, 1], [0, 1], color="#64707d", linewidth=1, linestyle="--")
        above.bar(middles[there], right[there], width, color="#2463c5", edgecolor="white", label="accuracy")
        above.plot(sure[there], right[there], "o", color="#1c2530", markersize=3.5, label="at the mean probability")
        above.set_title(f"{title}: ECE {measured(logits, y)['ece']:.4f}", fontsize=11)
        above.set_ylim(0, 1.02)
        below.bar(middles, many, width, color="#6b7785", edgecolor="white")
        below.set_yscale("symlog", linthresh=1)
        below.set_xlim(0, 1)
        below.set_xlabel("probability of the predicted class")
        for one in (above, below):
            one.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("accuracy")
    axes[1][0].set_ylabel("examples")
    axes[0][0].legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _flat(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, (examples, classes), and labels, with each labelled time step as an example."""
    return probabilities(logits.reshape(-1, logits.shape[-1])), y.reshape(-1)
