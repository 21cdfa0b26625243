"""`python -m zoo.predict`: classify inputs, match images with texts, or complete triples with a trained run."""

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strategies import backend
from zoo.config import task_facts
from zoo.config.run_options import PredictOptions
from zoo.config.task_facts import TASKS, TaskFacts
from zoo.config.train_config import flag
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.guests import model as guest
from zoo.runs import inputs
from zoo.runs.folder import RunFolder
from zoo.runs.results import answers

# Options for a model file; the others are of runs.
OF_MODEL_FILES = ("run", "inputs", "top", "labels", "dataset", "data", "data_dir", "input_range")


def run(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each example its name and its most probable classes, texts or entities."""
    options = PredictOptions(**given)
    _check_top(options)
    if guest.is_file(options.run):
        return _of_model_file(options, given)
    for name in ("dataset", "data", "data_dir", "input_range"):
        if getattr(options, name) is not None:
            raise UsageError(f"{flag(name)}: expected with a model file, received with a run, which has its own")
    folder = RunFolder(options.run)
    _check_drawing(options, task_facts.of(folder.task))
    task_facts.check_request("zoo.predict", folder, options)
    from zoo.tasks.parts import requests  # imports numpy, which --help need not wait for

    requests.check_options(folder, options)
    folder.check_model_file()
    inputs.check_files(options.inputs, folder.read_config()["data"])
    backend.start()
    from zoo import tasks

    return tasks.of(folder.task).predict(folder, options)


def _of_model_file(options: PredictOptions, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the answers of a model of one's own."""
    check_of_model_file(options)
    chosen = guest.opened(options.run, given, data_needed=False)
    pictures = [text for text in options.inputs if not text.lower().endswith(".npz")]
    if pictures and chosen.input_range is None and not chosen.has_data:
        raise UsageError(f"INPUT {pictures[0]}: {guest.NO_RANGE}")
    labels = names_of_classes(options.labels)
    backend.start("tensorflow")
    from zoo.guests import prediction

    return prediction.of_files(chosen, options.inputs, top=options.top or 1, labels=labels)


def _check_top(options: PredictOptions) -> None:
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top: expected at least 1, received {options.top}")


def _check_drawing(options: PredictOptions, facts: TaskFacts) -> None:
    """Raise UsageError for a picture that the answers of a task cannot be drawn into."""
    if options.draw is None:
        return
    if not facts.draws:
        drawn = " or ".join(row.gives for row in TASKS.values() if row.draws)
        raise UsageError(f"--draw {options.draw}: expected a run that gives {drawn}, this one gives {facts.gives}")
    if options.draw.suffix.lower() != ".png":
        raise UsageError(f"--draw {options.draw}: expected a file that ends in .png")
    if arrays := [text for text in options.inputs if text.lower().endswith(".npz")]:
        raise UsageError(f"--draw {options.draw}: expected picture files, received {arrays[0]}")


def check_of_model_file(options: PredictOptions) -> None:
    """Raise UsageError unless a model file can be asked with these options."""
    _check_top(options)
    guest.check_options(options, OF_MODEL_FILES)
    for text in options.inputs:
        inputs.check_file(text, "image")


def names_of_classes(labels: tuple[str, ...] | None) -> Sequence[str] | None:
    """Return names of classes, which may stand in the lines of a file."""
    if labels is None or len(labels) > 1 or not Path(labels[0]).is_file():
        return labels
    try:
        return Path(labels[0]).read_text(encoding="utf-8").splitlines()
    except ValueError:
        raise UsageError(f"--labels {labels[0]}: expected a text file in UTF-8 with a name in each line") from None


def show(result: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each input and answer: a table on a terminal, tab-separated in a pipe."""
    columns, rows = answers(result)
    cli.table(columns, [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows])


main = functools.partial(
    cli.command,
    PredictOptions,
    run,
    show,
    prog="python -m zoo.predict",
    examples=(
        "python -m zoo.predict runs/digits seven.png",
        "python -m zoo.predict mine.keras photo.jpg --input-range 0,255 --labels names.txt --top 3",
    ),
    description="Predict with a trained run or a model file: classes, numbers, boxes, masks, forecasts and more.",
)


if __name__ == "__main__":
    sys.exit(main())
