"""Anomalies in the series of NAB: autoencoders of this zoo beside a rolling z-score, by AUC and NAB's own score.

A series is known to a detector as it is in NAB: it may learn from the first 15 % of it, without labels, and is scored
on the rest, point by point. An autoencoder is trained on windows of that part; the score of a point is the error of the
window that ends there, divided by the largest such error of the validation windows, so that all series share a scale.
An error that stays high after a change counts as a false alarm at every point in NAB. So each is shown with the
likelihood of Ahmad et al. (2017) too: how unusual the mean of the last errors is among those of the past.
"""

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import nab
from zoo.config.train_config import TrainConfig
from zoo.scores import roc

RUNS = Path("runs") / "anomaly"
SEEDS = (0, 1, 2)
MODELS = {"autoencoder": {"units": (32, 16), "code": 4}, "autoencoder_conv": {"filters": (8, 16)}}
EPOCHS = 30
# Samples of a window, and of the past that the z-score compares a point with.
WINDOW, PAST = 32, 288
# Errors that the likelihood compares, and those that it compares them with: the values of the paper.
RECENT, LONG = 10, 8000


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train on the first part of every series, and score the rest.

    Args:
        data_dir: Folder of prepared TFDS sets; the series of NAB are in ../raw/nab.
        quick: Whether to use one seed and one model.
    """
    folder = data_dir.parent / "raw" / "nab"
    series = {name: read(folder / name) for name in windows_of(folder)}
    labels = {name: labelled(*series[name], found) for name, found in windows_of(folder).items()}
    rows = [_row("rolling z-score", 0, {name: zscores(values) for name, (_, values) in series.items()}, labels)]
    for model, settings in list(MODELS.items())[: 1 if quick else None]:
        for seed in SEEDS[: 1 if quick else None]:
            scores = {name: _errors(model, settings, seed, name, values) for name, (_, values) in series.items()}
            rows.append(_row(model, seed, scores, labels))
            unusual = {name: likelihood(found) for name, found in scores.items()}
            rows.append(_row(f"{model}, likelihood", seed, unusual, labels))
    return {"rows": rows, "series": {name: len(values) for name, (_, values) in series.items()}}


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the times and the values of a series."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["timestamp"] for row in rows], np.array([float(row["value"]) for row in rows])


def windows_of(folder: Path) -> dict[str, list[list[str]]]:
    """Return the first and the last time of each window of an anomaly, by series."""
    return json.loads((folder / "windows.json").read_text())


def labelled(times: list[str], values: np.ndarray, windows: list[list[str]]) -> list[tuple[int, int]]:
    """Return the first and the last index of each window."""
    stamps = np.array([time[:19] for time in times], "datetime64[s]")
    ends = [[np.datetime64(end[:19]) for end in window] for window in windows]
    return [
        (int(np.searchsorted(stamps, first)), int(np.searchsorted(stamps, last, side="right")) - 1)
        for first, last in ends
    ]


def zscores(values: np.ndarray, past: int = PAST) -> np.ndarray:
    """Return how many deviations each point is from the mean of the points before it, (points,)."""
    found = np.zeros(len(values))
    for i in range(2, len(values)):
        before = values[max(0, i - past) : i]
        found[i] = abs(values[i] - before.mean()) / max(before.std(), 1e-6 * max(1.0, abs(before.mean())))
    return found


def likelihood(errors: np.ndarray, recent: int = RECENT, past: int = LONG) -> np.ndarray:
    """Return how many deviations the mean of the last errors is above that of the past ones, (points,).

    The anomaly likelihood of Ahmad et al. (2017, section 3.2) is the normal distribution of this number.

    Args:
        errors: Error of each point.
        recent: Number of errors whose mean is compared.
        past: Number of errors that it is compared with, the recent ones among them.
    """
    sums, squares = (np.concatenate([[0], np.cumsum(values)]) for values in (errors, np.square(errors)))
    end = np.arange(1, len(errors) + 1)
    begin, late = np.maximum(end - past, 0), np.maximum(end - recent, 0)
    mean = (sums[end] - sums[begin]) / (end - begin)
    deviation = np.sqrt(np.maximum((squares[end] - squares[begin]) / (end - begin) - mean**2, 0))
    return ((sums[end] - sums[late]) / (end - late) - mean) / np.maximum(deviation, 1e-9)


def _errors(model: str, settings: dict[str, Any], seed: int, name: str, values: np.ndarray) -> np.ndarray:
    """Return the error of the window that ends at each point, as a share of the threshold; 0 before the first."""
    from zoo.data import Split
    from zoo.runs.folder import RunFolder
    from zoo.tasks import anomaly
    from zoo.training.loop import train

    plain = name.replace("/", "-").removesuffix(".csv")
    known = RUNS / f"{plain}.csv"
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text("value\n" + "".join(f"{value!r}\n" for value in values[: nab.probation(len(values))].tolist()))
    place = RUNS / f"{plain}-{model}-{seed}"
    if not (place / "metrics.json").is_file():
        config = TrainConfig(
            model=model, settings=settings, task="anomaly", data=known, columns=("value",), window=WINDOW, hop=1,
            false_alarm_rate=0.0, epochs=EPOCHS, seed=seed, output=place,
        )  # fmt: skip
        train(config, verbose=False)
    run = RunFolder(place)
    limit, network = anomaly.threshold_of(run), run.load_model()
    x = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), WINDOW)[..., None].copy()
    errors = anomaly.errors(network, Split(x, np.zeros(len(x), np.int32)))
    return np.concatenate([np.zeros(WINDOW - 1), errors / limit])


def _row(name: str, seed: int, scores: dict[str, np.ndarray], labels: dict[str, Any]) -> dict[str, Any]:
    corpus = {key: nab.Labelled(found, labels[key]) for key, found in scores.items()}
    areas = {}
    for key, series in corpus.items():
        inside = np.zeros(len(series.scores), bool)
        for first, last in series.windows:
            inside[first : last + 1] = True
        areas[key] = roc.auc(series.scores[series.first :], inside[series.first :])
    points, threshold = nab.best(corpus)
    return {"detector": name, "seed": seed, "nab": points, "threshold": threshold, "auc": areas}


def table(result: dict[str, Any]) -> list[str]:
    """Return a row for each detector."""
    names = list(result["series"])
    short = [name.rpartition("/")[2].removesuffix(".csv") for name in names]
    lines = [
        f"| detector | NAB's score, mean | each seed | AUC, mean | {' | '.join(short)} |",
        f"| --- | --- | --- | --- |{' --- |' * len(names)}",
    ]
    for detector in dict.fromkeys(row["detector"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["detector"] == detector]
        each = [statistics.mean(row["auc"][name] for row in rows) for name in names]
        seeds = ", ".join(f"{row['nab']:.1f}" for row in rows)
        lines.append(
            f"| {detector} | {statistics.mean(row['nab'] for row in rows):.1f} |"
            f" {seeds} | {statistics.mean(each):.3f} |"
            f" {' | '.join(f'{area:.3f}' for area in each)} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    note = (
        "NAB's score has the standard profile and the threshold that is best for all six series together, as in NAB;"
        " the AUC is that of single points, in windows of anomalies or not. Both leave out the first 15 % of each"
        " series. Published scores are of 58 series and cannot be compared with these."
    )
    return "\n".join([*table(result), "", note])
