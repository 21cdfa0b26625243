"""Report of forecasts: drawn windows, errors by step and column, all beside the seasonal-naive forecast."""

from typing import Any

import numpy as np

from zoo.console.figures import form_of
from zoo.data import Dataset
from zoo.data.dataset import leaves
from zoo.data.series.form import SeriesForm
from zoo.data.series.naive import seasonal_naive
from zoo.reports import page as report
from zoo.reports.page import text as escaped
from zoo.scores.forecasts import middle

CURVES = (("Loss", "loss"),)
# Columns that are drawn for each window, and past steps that are drawn for each step of the horizon.
DRAWN_COLUMNS, PAST = 3, 2
# Rows of the table of columns.
LISTED = 40
BLUE, GREY, DARK = "#2463c5", "#6b7785", "#1c2530"


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of forecasts.

    Args:
        data: Data with the form of the series.
        found: Scores of the test split.
        shown: Results that `Forecasting.measure` returned.
    """
    form = data.spec.series
    names = [name for name in ("mse", "mae", "mase", "quantile_loss", "inside") if name in found]
    tiles = [_tile(found, name, form) for name in names]
    step = f"steps of {form.step}" if form.step else "rows"
    subject = f"{len(form.columns):,} columns, {form.horizon:,} {step} forecast from {form.lookback:,}"
    if form.names:
        subject = f"{len(form.names):,} series, {subject}"
    sections = [_verdict(found, form), _drawn(data, shown), _steps(shown), _columns(shown, form)]
    return report.Page(subject, tiles, sections, CURVES)


def _tile(found: dict[str, Any], name: str, form: SeriesForm) -> tuple[str, str]:
    title, shape = form_of(name)
    if name == "inside":
        low, high = form.quantiles[0], form.quantiles[-1]
        return format(found[name], shape), f"of the values between the quantiles {low:g} and {high:g}"
    beside = f"naive_{name}"
    below = f"<br>seasonal naive: {found[beside]:{shape}}" if beside in found else ""
    return format(found[name], shape), f"test {title}{below}"


def _verdict(found: dict[str, Any], form: SeriesForm) -> str:
    better = found["mae"] < found["naive_mae"]
    season = f"the value of {form.season:,} steps before" if form.season > 1 else "the last value"
    said = (
        f"The absolute error is {1 - found['mae'] / found['naive_mae']:.0%} below that of"
        if better
        else "The model does not beat"
    )
    return (
        f"<section><h2>Beside the seasonal-naive forecast</h2><p>{said} the seasonal-naive forecast, which repeats"
        f" {season}. MSE and MAE are of standardized values, in standard deviations of each column over the training"
        f" part. MASE divides the absolute error by the mean change over {form.season:,} steps within the training"
        " part.</p></section>"
    )


def _drawn(data: Dataset, shown: dict[str, Any]) -> str:
    """Return pictures of some windows: past, truth, forecast and the naive forecast."""
    form, split = data.spec.series, data.split(shown["split"])
    columns = range(min(DRAWN_COLUMNS, len(form.columns)))
    windows = leaves(split.x)[0]
    count = len(shown["windows"])
    drawn = report.figure(3.6 * len(columns) + 0.6, 1.9 * count)
    axes = drawn.subplots(count, len(columns), squeeze=False, sharex=True)
    past = min(form.lookback, PAST * form.horizon)
    ahead = np.arange(1, form.horizon + 1)
    for row, (index, forecasts) in enumerate(zip(shown["windows"], shown["forecasts"], strict=True)):
        history, truth = windows[int(index)], split.y[int(index)]
        naive = seasonal_naive(history[..., : len(form.columns)], form.horizon, form.season)
        start = int(windows.rows[index])
        series = windows.source.names[windows.source.series[start]] if form.names else ""
        title = f"{series} {windows.source.time(start + form.lookback)}".strip()
        for column in columns:
            axis = axes[row, column]
            axis.plot(np.arange(1 - past, 1), history[-past:, column], color=DARK, linewidth=0.9)
            axis.plot(ahead, truth[:, column], color=DARK, linewidth=0.9, linestyle=":", label="what happened")
            axis.plot(ahead, naive[:, column], color=GREY, linewidth=0.9, label="seasonal naive")
            if form.quantiles:
                low, high = forecasts[:, column, 0], forecasts[:, column, -1]
                axis.fill_between(ahead, low, high, color=BLUE, alpha=0.18, linewidth=0)
                forecast = forecasts[:, column, middle(form.quantiles)]
            else:
                forecast = forecasts[:, column]
            axis.plot(ahead, forecast, color=BLUE, linewidth=1.3, label="forecast")
            axis.axvline(0.5, color=GREY, linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=7)
            axis.set_title(f"{form.columns[column]}, {title}" if column == 0 else form.columns[column], fontsize=8)
    axes[0, -1].legend(frameon=False, fontsize=7)
    axes[-1, 0].set_xlabel("steps from the forecast", fontsize=8)
    return f"<section><h2>Forecasts, test split</h2>{report.svg(drawn, 'forecasts beside what happened')}</section>"


def _steps(shown: dict[str, Any]) -> str:
    """Return the error by step of the horizon as a picture."""
    drawn = report.figure(6.2, 2.6)
    axis = drawn.subplots()
    for sums, title, colour in ((shown["naive"], "seasonal naive", GREY), (shown["sums"], "model", BLUE)):
        errors = sums.by_step()
        axis.plot(np.arange(1, len(errors) + 1), errors, color=colour, label=title, marker="o" * (len(errors) == 1))
    axis.set_xlabel("step of the horizon")
    axis.set_ylabel("MAE, standard deviations", fontsize=8)
    axis.set_ylim(bottom=0)
    axis.grid(color="#e3e7ec", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return f"<section><h2>Error by step</h2>{report.svg(drawn, 'error by step of the horizon')}</section>"


def _columns(shown: dict[str, Any], form: SeriesForm) -> str:
    """Return a table with the scores of each column."""
    rows = sorted(shown["per_column"], key=lambda row: -row["mae"])[:LISTED]
    cells = "".join(
        f"<tr><td>{escaped(row['column'])}</td>"
        + "".join(
            f"<td class=n>{row[name]:{shape}}</td>"
            for name, shape in (
                ("mse", ".4f"),
                ("mae", ".4f"),
                ("naive_mae", ".4f"),
                ("mase", ".3f"),
                ("naive_mase", ".3f"),
                ("raw", ",.4g"),
            )
        )
        + "</tr>"
        for row in rows
    )
    more = len(shown["per_column"]) - len(rows)
    rest = f"<p>{more:,} more columns with smaller errors are in metrics.json.</p>" if more > 0 else ""
    return (
        "<section><h2>Errors of each column, test split</h2><table><tr><th>column<th class=n>MSE<th class=n>MAE"
        "<th class=n>MAE, seasonal naive<th class=n>MASE<th class=n>MASE, seasonal naive<th class=n>mean error, own"
        f" unit</tr>{cells}</table>{rest}</section>"
    )
