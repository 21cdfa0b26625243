"""Forecasting: the next steps of one or more series, from their past and from columns whose future is known."""

from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals, form_of
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches import pipeline as batches
from zoo.data.dataset import leaves
from zoo.data.series.form import SeriesForm
from zoo.data.series.naive import seasonal_naive
from zoo.models.parts.forecaster import Forecaster, NetworkForecaster
from zoo.objectives.forecast_loss import QuantileLoss, SquaredError
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.runs.inference import BATCH, logits_of
from zoo.runs.vocabularies import read_spec
from zoo.scores.forecasts import Sums
from zoo.tasks.base import Task
from zoo.tasks.pages import forecasts as forecast_page
from zoo.tasks.parts import horizons

# Windows of a split that are forecast at a time, so that their forecasts need not all be in memory.
AT_ONCE = 4096
# Windows of the test split whose forecasts the report shows.
SHOWN = 6
NO_INTERVALS = "windows overlap, so they are no independent examples"


class Forecasting(Task):
    """Forecast the next steps of series."""

    name = "forecasting"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        form = spec.series
        if "horizon" in registry.arguments(config.model):
            return {**config.settings, **model_arguments(form)}
        return {**config.settings, "num_classes": form.horizon * len(form.columns) * max(1, len(form.quantiles))}

    def wrapped(self, model: keras.Model, spec: DataSpec) -> keras.Model:
        """Return a forecasting model; a network for sequences gives all steps of all columns at once."""
        if isinstance(model, Forecaster):
            return model
        return NetworkForecaster(model, **model_arguments(spec.series))

    def build_shape(self, spec: DataSpec) -> Any:
        known = len(spec.series.known)
        return [(None, *spec.input_shape), (None, spec.series.horizon, known)] if known else (None, *spec.input_shape)

    def inputs(self, model: keras.Model, spec: DataSpec) -> Any:
        shapes = self.build_shape(spec)
        if not isinstance(shapes, list):
            return keras.KerasTensor((1, *shapes[1:]), "float32")
        return tuple(keras.KerasTensor((1, *shape[1:]), "float32") for shape in shapes)

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {"loss": loss_of(spec.series)}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        options = {"batch_size": batch_size, "seed": config.seed, "start": start, "stop": stop}
        return batches.training_batches(data.train, part=config.part, **options)

    def reads_parts(self, config: TrainConfig) -> bool:
        return True

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        return batches.evaluation_batches(data.validation, batch_size=BATCH, stride=stride)

    def validation_parts(self, data: Dataset, replicas: range, count: int) -> Any:
        return batches.evaluation_parts(data.validation, replicas, count, batch_size=BATCH)

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row["val_loss"],)

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, and the results that the report shows.

        Every window of the split is forecast, so the evaluation rolls forward one step at a time. Results are `sums`
        and `naive`, the errors of the model and of the seasonal-naive forecast by step and column, and `windows`, the
        indices of windows that are drawn with their `forecasts`.
        """
        examples, form = data.split(split), data.spec.series
        own, naive = sums_of(form), Sums(np.array(form.own_deviations))
        chosen = np.linspace(0, len(examples) - 1, min(SHOWN, len(examples))).round().astype(int)
        for start in range(0, len(examples), AT_ONCE):
            part = examples.take(np.arange(start, min(start + AT_ONCE, len(examples))))
            add(own, naive, part, logits_of(model, part), form)
        drawn = logits_of(model, examples.take(chosen))
        shown = {"sums": own, "naive": naive, "windows": chosen, "forecasts": drawn, "split": split}
        shown |= {"no_intervals": NO_INTERVALS, "per_column": per_column(own, naive, form)}
        return scores(own, naive), shown

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return forecast_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return f"{in_words(test)}, {test['examples']:,} windows; {beside(test)}"

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        spec, _ = read_spec(run)
        asked = [horizons.read(text, spec.series) for text in options.inputs]
        model, answers = run.load_model(), []
        for found in asked:
            made = logits_of(model, Split(found.x, np.zeros((len(found), 0))))
            answers += horizons.answers(found, made, spec.series)
        return answers

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        lookback, columns = input_shape or (32, 2)
        names = tuple(f"y{i}" for i in range(columns))
        zeros, ones = (0.0,) * columns, (1.0,) * columns
        form = SeriesForm(names, (), lookback, 4, (), 1, zeros, ones, scales=(ones,))
        return DataSpec("example", "series", (lookback, columns), (), task=self.name, series=form)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        form, shapes = spec.series, self.build_shape(spec)
        several = isinstance(shapes, list)
        x = tuple(keras.KerasTensor((batch_size, *s[1:]), "float32") for s in (shapes if several else [shapes]))
        y = keras.KerasTensor((batch_size, form.horizon, len(form.columns)), "float32")
        return x if several else x[0], y


def model_arguments(form: SeriesForm) -> dict[str, Any]:
    """Return the constructor arguments of a forecasting model that its data decide."""
    names = ("horizon", "means", "deviations", "quantiles")
    return {name: getattr(form, name) for name in names} | {"known": len(form.known)}


def loss_of(form: SeriesForm) -> keras.losses.Loss:
    """Return the loss of forecasts: squared errors for the mean, or the pinball loss of quantiles."""
    deviations = form.own_deviations
    return QuantileLoss(form.quantiles, deviations) if form.quantiles else SquaredError(deviations)


def sums_of(form: SeriesForm) -> Sums:
    """Return sums of errors without a window."""
    return Sums(np.array(form.own_deviations), form.quantiles)


def add(own: Sums, naive: Sums, part: Split, forecasts: np.ndarray, form: SeriesForm) -> None:
    """Add windows to the sums of the model and of the seasonal-naive forecast."""
    windows = leaves(part.x)[0]
    y, scales = part.y[:], form.scales_of(windows.source.series[windows.rows])
    own.add(y, forecasts, scales)
    past = windows[:][..., : len(form.columns)]
    naive.add(y, seasonal_naive(past, form.horizon, form.season), scales)


def scores(own: Sums, naive: Sums) -> dict[str, Any]:
    """Return the scores of a split, those of the seasonal-naive forecast beside them."""
    plain = {f"naive_{name}": value for name, value in naive.scores().items()}
    return own.scores() | plain | {"examples": own.windows}


def per_column(own: Sums, naive: Sums, form: SeriesForm) -> list[dict[str, Any]]:
    """Return the scores of each column; `raw` is the mean absolute error in its own units."""
    mine, plain = own.by_column(), naive.by_column()
    return [
        {"column": name}
        | {key: float(values[i]) for key, values in mine.items()}
        | {f"naive_{key}": float(values[i]) for key, values in plain.items()}
        for i, name in enumerate(form.columns)
    ]


def in_words(test: dict[str, Any]) -> str:
    """Return the scores of a split in a clause."""
    names = ("mse", "mae", "mase", "quantile_loss")
    return ", ".join(f"{form_of(name)[0]} {test[name]:{form_of(name)[1]}}" for name in names if name in test)


def beside(test: dict[str, Any]) -> str:
    """Return how the forecasts compare with the seasonal-naive ones."""
    said = f"seasonal naive: MSE {test['naive_mse']:.4g}, MAE {test['naive_mae']:.4g}"
    return said if test["mae"] < test["naive_mae"] else f"{said}, which the model does not beat"


TASK = Forecasting()
