"""`python -m zoo.predict`: classify inputs, match images with texts, or complete triples with a trained run."""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from strategies import backend
from zoo.config import task_facts
from zoo.config.run_options import PredictOptions
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs import inputs
from zoo.runs.folder import RunFolder


def run(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each example its name and its most probable classes, texts or entities."""
    options = PredictOptions(**given)
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top: expected at least 1, received {options.top}")
    folder = RunFolder(options.run)
    task_facts.check_request("zoo.predict", folder, options)
    folder.check_model_file()
    inputs.check_files(options.inputs, folder.read_config()["data"])
    backend.start()
    from zoo import tasks

    return tasks.of(folder.task).predict(folder, options)


def show(result: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each input and class: a table on a terminal, tab-separated in a pipe."""
    rows = [
        (row["input"], entry["label"], f"{entry['probability']:.4f}")
        for row in result
        for entry in row.get("top", [row])
    ]
    cli.table(("input", "label", "probability"), rows)


main = functools.partial(
    cli.command,
    PredictOptions,
    run,
    show,
    prog="python -m zoo.predict",
    description="Classify inputs, match images with texts, or complete triples with a trained run.",
)


if __name__ == "__main__":
    sys.exit(main())
