"""`python -m zoo.evaluate`: measure a trained run or a model file on a split of its own data, or on other data."""

import dataclasses
import functools
import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from strategies import backend
from zoo.config import task_facts
from zoo.config.catalogue import check_source
from zoo.config.options import option
from zoo.config.records import is_address
from zoo.config.run_options import ModelData
from zoo.config.train_config import TrainConfig
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.figures import by_output, ends
from zoo.guests import model as guest
from zoo.runs.folder import RunFolder
from zoo.scores import groups
from zoo.system.files import write_json

if TYPE_CHECKING:
    from zoo.data import Dataset
# Options for a model file; the others are of runs.
OF_MODEL_FILES = ("run", "split", "dataset", "data", "data_dir", "input_range", "skip_bad", "output")


@dataclass(frozen=True, kw_only=True)
class Options(ModelData):
    """Options of `python -m zoo.evaluate`."""

    run: Path = option("run folder, or a model file (.keras, .h5) with its data", positional=True, stock_as="copy")
    split: Literal["train", "validation", "test"] = option("split to measure", "test")
    dataset: str | None = option(
        "another data set than the run's, or the set of a model file: an embedded one or any TFDS name"
    )
    data: Path | None = option(
        "own data instead, in the forms that zoo.train takes; for a model file also an .npz file with x_test.NAME and"
        " y_test.NAME"
    )
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")
    text_column: str | None = option("column of the text (default: the run's)")
    label_column: str | None = option("column of the label (default: the run's)")
    source: str | None = option("language or column of the sources (default: the run's)")
    target: str | None = option("language or column of the targets (default: the run's)")
    test_split_name: str | None = option("test split of a TFDS set (default: the run's)")
    classifier: Path | None = option(
        "for a run that gives images: run of a classifier whose features compare them (default: the run's)",
        metavar="RUN",
    )
    groups: Path | None = option(
        "subgroups to measure accuracy on: a .csv file with a header, a row for each example of the split in order, and"
        " a column for each attribute, whose values are the groups",
        metavar="FILE",
    )
    recordings: Path | None = option(
        "for a run on sound: file or folder of long recordings, in which false alarms per hour are counted",
        metavar="PATH",
    )
    events: Path | None = option(
        "what is said in the recordings: a .csv file with the columns file, start, end (seconds) and label (default:"
        " nothing, so that every event is a false alarm)",
        metavar="FILE",
    )
    hop: float | None = option(
        "distance in seconds of the windows that slide over recordings (default: a quarter of a clip)",
        within=(0.001, 3600),
    )
    skip_bad: bool = option("skip unreadable images instead of stopping", False)
    output: Path | None = option("folder for the scores (default: RUN/evaluations; none for a model file)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the split, write the scores into the run folder, and return them."""
    options = Options(**given)
    if guest.is_file(options.run):
        guest.check_options(options, OF_MODEL_FILES)
        return measured(guest.opened(options.run, given), options)
    if options.input_range is not None:
        raise UsageError(guest.range_of_run())
    folder = RunFolder(options.run)
    stored = folder.read_config()
    if options.recordings is not None:
        return _listened(folder, options, stored["data"])
    for name in ("events", "hop"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name}: expected together with --recordings, received without it")
    config = _configuration(stored["config"], folder.task, options, given)
    attributes = _attributes(options, stored["data"])
    folder.check_model_file()
    check_source(config)
    if options.data_dir is not None and not config.dataset_is_tfds:
        raise UsageError(f"--data-dir {options.data_dir}: expected with a TFDS set, received with {config.data_name}")
    backend.start()
    from zoo import tasks
    from zoo.data import reading
    from zoo.data.load import check_effects
    from zoo.runs.inference import load_like

    data = load_like(folder, config)
    check_effects(config, data, given)
    reading.tell(data.reading)
    # Own data without named splits are measured as a whole.
    whole = options.data is not None and "split" not in given and not len(data.test)
    task = tasks.of(data.spec.task)
    split, measured_as = ("train", groups.WHOLE) if whole else (options.split, options.split)
    if attributes:
        groups.check_rows(options.groups, attributes, len(data.split(split)), measured_as)
    seen = _seen(folder, data, split, measured_as) if options.data or options.dataset else {}
    result, shown = task.measure(folder.load_model(), data, split, **task.measured_again_with(config, folder))
    result |= tasks.kept(shown) | seen
    if attributes:
        rows = groups.measured(attributes, shown["logits"].argmax(-1) == data.split(split).y)
        result |= {"groups": rows, "gaps": groups.gaps(rows)}
        groups.write(folder.groups_file, data.spec.name, measured_as, rows)
    place = options.output or folder.path / "evaluations"
    return _told(data.spec.name, _source(config.data, data), task.name, measured_as, result, place)


def _seen(folder: RunFolder, data: "Dataset", split: str, measured_as: str) -> dict[str, int]:
    """Return how many examples of a split the run was trained on, and say so; nothing if the run does not tell."""
    from zoo.runs import examples

    count = examples.in_training(folder, data, split)
    if count:
        cli.say(
            f"{data.spec.name}, {groups.named(measured_as)}: the run was trained on {count:,} of these"
            f" {len(data.split(split)):,} examples; its scores on new data may be lower"
        )
    return {} if count is None else {"seen_in_training": count}


def measured(opened: guest.OpenedModel, options: Options) -> dict[str, Any]:
    """Measure a model of one's own, and return what `run` returns.

    Raises:
        UsageError: The split has no examples or no labels.
    """
    model, data = opened.load()
    from zoo import tasks
    from zoo.tasks.own_model import of_model

    split = data.split(options.split)
    if split.y is None:
        raise UsageError(f"{data.spec.name}: expected labels to measure against, the {options.split} split has none")
    result, shown = of_model(model, data).measure(model, data, options.split)
    result |= tasks.kept(shown)
    return _told(data.spec.name, _source(options.data, data), data.spec.task, options.split, result, options.output)


def _listened(folder: RunFolder, options: Options, data: Mapping[str, Any]) -> dict[str, Any]:
    """Count the false alarms of a run on sound in long recordings, and return what `run` returns."""
    if data["kind"] != "sound" or not task_facts.of(folder.task).classifies:
        raise UsageError(
            f"--recordings: expected a run that classifies sound, {options.run} takes {data['kind']} inputs"
        )
    folder.check_model_file()
    backend.start()
    from zoo.runs.vocabularies import read_spec
    from zoo.tasks.parts import listening

    spec, _ = read_spec(folder)
    files = listening.recordings(options.recordings)
    truth = listening.read_events(options.events, files, spec.class_names) if options.events else {}
    result = listening.measured(folder.load_model(), spec, files, truth, options.hop)
    place = options.output or folder.path / "evaluations"
    result = {"source": str(options.recordings.resolve()), **result}
    path = _written(result, place, options.recordings.stem, "recordings")
    return {"data": options.recordings.name, "task": folder.task, **result, "path": path}


def _source(path: Path | None, data: "Dataset") -> str:
    """Return the place of own data, or the name of a set."""
    if path is None:
        return data.spec.name
    return str(path if is_address(path) else path.resolve())


def _told(data: str, source: str, task: str, split: str, result: dict[str, Any], place: Path | None) -> dict[str, Any]:
    """Write the scores into a folder, if there is one, and return them with what they are of."""
    result = {"data": data, "source": source, "task": task, "split": split, **result}
    return {**result, "path": place and _written(result, place, data, split)}


def _written(result: dict[str, Any], place: Path, name: str, split: str) -> str:
    """Write scores over earlier ones of the same source, never over those of another, and return their path."""
    for number in itertools.count(1):
        path = place / f"{name}{f'-{number}' if number > 1 else ''}-{split}.json"
        if not path.exists() or _source_of(path) == result["source"]:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return str(path)


def _source_of(path: Path) -> str | None:
    """Return the source that a file of scores names, None if it names none."""
    try:
        return json.loads(path.read_text()).get("source")
    except (OSError, ValueError, AttributeError):
        return None


def _attributes(options: Options, data: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return the groups of each example by attribute.

    Raises:
        UsageError: A run that does not give a class for each example, or a file that cannot be read.
    """
    if options.groups is None:
        return None
    task = data.get("task", task_facts.CLASSES)
    if not task_facts.of(task).classifies or data["per_step"]:
        what = "a class for each step" if data["per_step"] else task
        raise UsageError(f"--groups: expected a run that gives a class for each example, {options.run} is for {what}")
    return groups.read(options.groups)


def _configuration(stored: TrainConfig, task: str, options: Options, given: Mapping[str, Any]) -> TrainConfig:
    """Return the run's configuration with the data that the options name."""
    if options.dataset and options.data:
        raise UsageError("--dataset and --data: expected one of them, received both")
    same = ("classifier", "data_dir", "text_column", "label_column", "source", "target", "test_split_name", "skip_bad")
    changes = {name: given[name] for name in same if name in given}
    if options.dataset or options.data:
        changes = {"test_split_name": None} | changes  # the name belongs to the run's set
        changes |= {
            "dataset": options.dataset,
            "data": options.data,
            "validation_data": None,
            "test_split": 0.0 if options.data else stored.test_split,
            "validation_split": 0.0,
        }
    if options.split == "test" and task_facts.of(task).test_stands_alone and not stored.validation_data:
        changes["validation_split"] = 0.0  # the test split is held out first, so it stays the same
    return dataclasses.replace(stored, **changes)


def show(result: Mapping[str, Any]) -> None:
    """Print a line for each score, and the file that holds all of them."""
    if "thresholds" in result:
        print(f"{result['data']}: {result['recordings']:,} recordings, {result['hours']:.3g} hours")
        columns = ("threshold", "false alarms", "an hour", f"heard of {result['events']:,} events")
        rows = [
            (
                f"{row['threshold']:g}",
                f"{row['false_alarms']:,}",
                f"{row['false_alarms_an_hour']:.2f}",
                "" if row["heard"] is None else f"{row['heard']:.1%}",
            )
            for row in result["thresholds"]
        ]
        cli.table(columns, rows)
        print(result["path"])
        return
    print(f"{result['data']}, {groups.named(result['split'])}, {result['examples']:,} examples")
    intervals = result["intervals"]
    for name in by_output(result, task_facts.of(result["task"]).figures):
        before, plain = name[: name.rfind(".") + 1], name.rpartition(".")[2]
        classes = f"{before}accuracy" in result and f"{before}precision" in result
        macro = " (macro)" if classes and plain in ("precision", "recall", "f1") else ""
        value = result[name] if isinstance(result[name], str) else f"{result[name]:.4f}"
        within = f" ({ends(intervals[name], '.4f')})" if name in intervals else ""
        print(f"{name + macro:<18} {value}{within}")
    if intervals:
        print("in brackets: 95 % intervals from a bootstrap over examples")
    if "no_intervals" in result:
        print(f"without an interval: {result['no_intervals']}")
    if "groups" in result:
        groups.show(result["groups"], result["gaps"])
    if result["path"]:
        print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.evaluate runs/digits",
        "python -m zoo.evaluate runs/digits --split validation --json",
        "python -m zoo.evaluate mine.keras --data photographs",
    ),
    prog="python -m zoo.evaluate",
    description="Measure a trained run or a model file on a split.",
)


if __name__ == "__main__":
    sys.exit(main())
