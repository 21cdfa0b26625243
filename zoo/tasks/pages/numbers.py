"""Report of numbers: predicted against true ones, residuals, the scores of each target, the largest errors."""

from typing import Any

import numpy as np

from zoo.console.figures import below, tiles
from zoo.data import Dataset
from zoo.reports import page as report
from zoo.reports.page import text as escaped
from zoo.tasks.pages.classes import png

WORST = 12
# Points of a plot; of more examples, some are drawn.
MOST_POINTS, BINS = 2000, 40


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a run that gives numbers.

    Args:
        data: Data with the test examples.
        scores: Scores of the test split.
        shown: Results that `Regression.measure` returned.
    """
    spec, within = data.spec, shown["intervals"]
    outputs, y = shown["outputs"], data.test.y
    if len(outputs) != len(y):  # another split was measured
        return report.Page(", ".join(spec.targets), tiles(scores, ("rmse", "mae", "r2"), within), [], _CURVES)
    top = [
        (f"{scores['rmse']:,.5g}", f"test RMSE{below('rmse', within)}"),
        *tiles(scores, ("mae", "r2", "quantile_loss", "inside"), within),
    ]
    sections = []
    if len(spec.targets) > 1:
        sections.append(_targets(shown["per_column"]))
    for i, name in enumerate(spec.targets):
        sections.append(_plots(name, outputs[:, i], y[:, i]))
    if spec.quantiles:
        sections.append(_quantiles(outputs, y, data))
    sections.append(_worst(data, outputs))
    return report.Page(", ".join(spec.targets), top, sections, _CURVES)


_CURVES = (("Loss <small>in units of the targets' deviations</small>", "loss"),)


def _targets(rows: list[dict[str, Any]]) -> str:
    cells = "".join(
        f"<tr><td>{escaped(row['column'])}</td><td class=n>{row['rmse']:,.5g}</td><td class=n>{row['mae']:,.5g}</td>"
        f"<td class=n>{row.get('r2', float('nan')):.4f}</td></tr>"
        for row in rows
    )
    return (
        "<section><h2>Each target, test split</h2><table><tr><th>target<th class=n>RMSE<th class=n>MAE<th class=n>R2"
        f"</tr>{cells}</table></section>"
    )


def _plots(name: str, predicted: np.ndarray, y: np.ndarray) -> str:
    """Return predicted against true numbers, residuals against predictions, and the distribution of residuals."""
    few = np.random.default_rng(0).permutation(len(y))[:MOST_POINTS]
    residual = y.astype(np.float64) - predicted
    figure = report.figure(11.0, 3.6)
    left, middle, right = figure.subplots(1, 3)
    low, high = min(y.min(), predicted.min()), max(y.max(), predicted.max())
    left.scatter(y[few], predicted[few], s=5, alpha=0.35, linewidths=0, color="#2463c5")
    left.plot([low, high], [low, high], color="#64707d", linewidth=1)
    left.set_xlabel("true")
    left.set_ylabel("predicted")
    middle.scatter(predicted[few], residual[few], s=5, alpha=0.35, linewidths=0, color="#2463c5")
    middle.axhline(0, color="#64707d", linewidth=1)
    middle.set_xlabel("predicted")
    middle.set_ylabel("true - predicted")
    right.hist(residual, BINS, color="#2463c5")
    right.set_xlabel("true - predicted")
    right.set_ylabel("examples")
    for axes in (left, middle, right):
        axes.tick_params(labelsize=8)
        axes.ticklabel_format(style="sci", scilimits=(-3, 5), axis="both")
    about = f"{name}: predicted against true, residuals against predictions, and their distribution"
    shift = f"mean of the residuals {residual.mean():,.4g}, median of their sizes {np.median(np.abs(residual)):,.5g}"
    return f"<section><h2>{escaped(name)}, test split <small>{shift}</small></h2>{report.svg(figure, about)}</section>"


def _quantiles(outputs: np.ndarray, y: np.ndarray, data: Dataset) -> str:
    """Return how often each quantile lies above the truth, which should be its level."""
    spec, rows = data.spec, ""
    asked = outputs[:, len(spec.targets) :].reshape(len(y), len(spec.targets), len(spec.quantiles))
    for i, name in enumerate(spec.targets):
        for j, level in enumerate(spec.quantiles):
            share = float((y[:, i] <= asked[:, i, j]).mean())
            rows += f"<tr><td>{escaped(name)}</td><td class=n>{level:g}</td><td class=n>{share:.2%}</td></tr>"
    return (
        "<section><h2>Quantiles, test split</h2><table><tr><th>target<th class=n>quantile<th class=n>true numbers below"
        f" it</tr>{rows}</table></section>"
    )


def _worst(data: Dataset, outputs: np.ndarray) -> str:
    """Return the examples with the largest errors, in units of the deviations of the targets."""
    spec, y = data.spec, data.test.y
    errors = np.abs(outputs[:, : len(spec.targets)] - y) / np.array(spec.deviations)
    order = np.argsort(-errors.max(1), kind="stable")[:WORST]
    heading = "<section><h2>Largest errors <small>test split</small></h2>"
    if spec.kind == "image":
        figures = "".join(
            f"<figure><img alt='test example {i}' src='{png(data.test.x[i])}'><figcaption>{_numbers(y[i])}, predicted"
            f" <i>{_numbers(outputs[i][: len(spec.targets)])}</i></figcaption></figure>"
            for i in order
        )
        return f"{heading}<div class=mistakes>{figures}</div></section>"
    rows = "".join(
        f"<tr><td class=n>{i}</td><td class=n>{_numbers(y[i])}</td>"
        f"<td class=n>{_numbers(outputs[i][: len(spec.targets)])}</td></tr>"
        for i in order
    )
    return f"{heading}<table><tr><th class=n>example<th class=n>true<th class=n>predicted</tr>{rows}</table></section>"


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:,.5g}" for value in values)
