"""The end of a run: its model, numbers and report, and last the file that says that it is whole."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from zoo import tasks
from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.reports import page as report
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing, sha256, write_json


def finish(
    run: RunFolder,
    config: TrainConfig,
    data: Dataset,
    model: keras.Model,
    found: dict[str, Any],
    history: Sequence[dict[str, Any]] = (),
    sections: Sequence[str] = (),
) -> dict[str, Any]:
    """Write model.keras, measure it on the test split, write the report and metrics.json, and return that.

    Args:
        run: its folder, which has its config.json.
        config: resolved.
        data: whose test split measures.
        model: with the weights that the run ends with.
        found: what metrics.json says besides: epoch, epochs, seconds, examples_per_second and more.
        history: one row an epoch, for the curves; none of a run that was not trained.
        sections: more HTML for the report, before the task's.
    """
    with replacing(run.model_file) as temporary:
        model.save(temporary)
    task = tasks.of(data.spec.task)
    scores, shown = task.measure(model, data, **task.measured_with(config))
    metrics = {
        "test": scores,
        **tasks.kept(shown),
        **found,
        "split_examples": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "parameters": model.count_params(),
        "model_sha256": sha256(run.model_file),
    }
    task.save(run, data, shown)
    page = task.page(data, scores, shown)
    curves = page.curves if history else ()
    page = dataclasses.replace(page, sections=[*sections, *page.sections], curves=curves)
    report.write(run, config, data, metrics, list(history), page)
    # Last: this file says that the run is whole.
    write_json(run.metrics_file, metrics)
    return metrics
