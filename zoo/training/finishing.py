"""The end of a run: its model, its scores, its report, and last metrics.json, which marks the run as finished."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from zoo import tasks
from zoo.config.train_config import TrainConfig
from zoo.data import Dataset, recording
from zoo.isolation import passed
from zoo.reports import page as report
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing, sha256
from zoo.tasks.base import Task


def finish(
    run: RunFolder,
    config: TrainConfig,
    data: Dataset,
    task: Task,
    model: keras.Model,
    found: dict[str, Any],
    history: Sequence[dict[str, Any]] = (),
    sections: Sequence[str] = (),
    title: str = "",
) -> dict[str, Any]:
    """Write model.keras, measure it on the test split, write the report and metrics.json, and return the metrics.

    Nothing is measured on examples without labels.

    Args:
        run: Run folder, which has its config.json.
        config: Resolved configuration.
        data: Data with the test split.
        task: Task of the data, see `zoo.tasks`.
        model: Model with its final weights.
        found: Further entries of metrics.json: epoch, epochs, seconds, examples_per_second and more.
        history: Rows of history.csv, for the curves; none if the model was not trained.
        sections: HTML sections of the report, shown before those of the task.
        title: Title of the report. Default: the model and the data.
    """
    with replacing(run.model_file) as temporary:
        model.save(temporary)
        passed.remember(sha256(temporary))
    unlabelled = data.spec.unlabelled
    scores, shown = {"examples": len(data.test)}, {}
    if not unlabelled:
        scores, shown = task.measure(model, data, **task.measured_with(config))
    metrics = {
        "test": scores,
        **tasks.kept(shown),
        **found,
        "split_examples": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "data": (data.reading or recording.of(data)).to_json(),
        "parameters": model.count_params(),
        "model_sha256": sha256(run.model_file),
    }
    if unlabelled:
        page = report.Page("no labels", [(f"{len(data.test):,}", "test examples without labels: no score")], [])
    else:
        task.save(run, data, shown)
        page = task.page(data, scores, shown)
    curves = page.curves if history else ()
    page = dataclasses.replace(page, sections=[*sections, *page.sections], curves=curves)
    report.write(run, config, data, metrics, list(history), page, title)
    # Last, as this file marks the run as finished.
    run.write_metrics(metrics)
    return metrics
