"""How far probabilities can be believed: expected calibration error, Brier score, temperature, reliability diagram."""

from typing import Any

import numpy as np

from zoo.console.errors import UsageError
from zoo.reports import page as report
from zoo.runs.inference import probabilities

BINS = 15  # as in Guo et al. (2017)
# Between which a temperature is looked for; trained networks have 1 to 3.
COLDEST, HOTTEST = 0.05, 20.0


def bins(p: np.ndarray, y: np.ndarray, count: int = BINS) -> np.ndarray:
    """Return (bins, 3): in bins of equal width of the highest probability its mean, the accuracy, and how many.

    Args:
        p: (examples, classes), probabilities.
        y: (examples,) class indices.
        count: of bins; each has its upper border, and the first 0 as well.
    """
    sure, right = p.max(-1), p.argmax(-1) == y
    place = np.clip(np.ceil(sure * count).astype(int) - 1, 0, count - 1)
    many = np.bincount(place, minlength=count)
    sums = [np.bincount(place, weights=values, minlength=count) for values in (sure, right)]
    return np.stack([*(total / np.maximum(many, 1) for total in sums), many], axis=-1)


def measured(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return how well probabilities are calibrated: ece, nll in nats, and the Brier score (Brier, 1950).

    ece: how far the accuracy of an example's bin is from its mean probability, on average (Naeini et al., 2015).

    Args:
        logits: (examples, classes) or (examples, time, classes).
        y: (examples,) or (examples, time).
    """
    p, y = _flat(logits, y)
    sure, right, many = bins(p, y).T
    return {
        "ece": float((many * abs(right - sure)).sum() / len(y)),
        "nll": float(-np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).tiny)).mean()),
        "brier": float(((p - np.eye(p.shape[-1])[y]) ** 2).sum(-1).mean()),
    }


def fitted_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature by which the likelihood of held-out labels is highest (Guo et al., 2017).

    Args:
        logits: (examples, classes) or (examples, time, classes), of examples that nothing else was fitted to.
        y: (examples,) or (examples, time).

    Raises:
        UsageError: no example is wrong, so that the lower the temperature, the better.
    """
    from scipy.optimize import minimize_scalar

    classes = logits.shape[-1]
    logits, y = logits.reshape(-1, classes).astype(np.float64), y.reshape(-1)
    if (logits.argmax(-1) == y).all():
        raise UsageError(
            f"calibration: expected validation examples that the model has wrong, it has all {len(y):,} right, and the"
            " lower a temperature, the better it fits them"
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
    """Return a matplotlib figure: for each title and its logits the accuracy in bins of probability, and how many.

    Args:
        parts: logits by title, (examples, classes) or (examples, time, classes).
        y: (examples,) or (examples, time).
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
        below.bar(middles, many, width, color="#9aa5b1", edgecolor="white")
        below.set_yscale("symlog", linthresh=1)
        below.set_xlim(0, 1)
        below.set_xlabel("probability of the predicted class")
        for one in (above, below):
            one.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("share that is right")
    axes[1][0].set_ylabel("examples")
    axes[0][0].legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _flat(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, (examples, classes), and labels; of one label a step each step is an example."""
    return probabilities(logits.reshape(-1, logits.shape[-1])), y.reshape(-1)
