"""`python -m zoo.evaluate`: measure a trained run on a split of its own data, or of others."""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strategies import backend
from zoo.config.catalogue import check_source
from zoo.config.options import option
from zoo.config.train_config import TrainConfig
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.figures import ends
from zoo.runs.folder import RunFolder
from zoo.scores import groups
from zoo.system.files import write_json


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to evaluate, and on what."""

    run: Path = option("the run folder", positional=True, stock_as="copy")
    split: Literal["train", "validation", "test"] = option("which split", "test")
    dataset: str | None = option("another set than the run's: an embedded or any TFDS name")
    data: Path | None = option("own data instead: a folder of images by class, an .npz, .csv, .tsv or .jsonl file")
    data_dir: Path | None = option("where TFDS sets are prepared (default: the run's)")
    text_column: str | None = option("column of the text (default: the run's)")
    label_column: str | None = option("column of the label (default: the run's)")
    source: str | None = option("what is translated: a language or a column (default: the run's)")
    target: str | None = option("what it is translated to (default: the run's)")
    test_split_name: str | None = option("which split of a TFDS set is the test (default: the run's)")
    classifier: Path | None = option(
        "of a run that draws images: a classifier's run, in whose features they are compared (default: the run's)",
        metavar="RUN",
    )
    groups: Path | None = option(
        "a .csv with a header, a row for each example of the split in its order, and a column for each attribute, whose"
        " values are the groups that accuracy is measured on",
        metavar="FILE",
    )
    skip_bad: bool = option("leave out unreadable images instead of stopping", False)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores, after writing them into the run folder."""
    options = Options(**given)
    folder = RunFolder(options.run)
    stored = folder.read_config()
    config = _configuration(stored["config"], options, given)
    folder.read_metrics()
    attributes = _attributes(options, stored["data"])
    check_source(config)
    backend.start()
    from zoo import tasks
    from zoo.runs.inference import load_like

    data = load_like(folder, config)
    # A set of one's own that names no splits is the test set as a whole.
    whole = options.data is not None and "split" not in given and not len(data.test)
    task = tasks.of(data.spec.task)
    split = "train" if whole else options.split
    if attributes:
        groups.check_rows(options.groups, attributes, len(data.split(split)), options.split)
    result, shown = task.measure(folder.load_model(), data, split, **task.measured_with(config))
    result |= tasks.kept(shown)
    if attributes:
        rows = groups.measured(attributes, shown["logits"].argmax(-1) == data.split(split).y)
        result |= {"groups": rows, "gaps": groups.gaps(rows)}
        groups.write(folder.groups_file, data.spec.name, options.split, rows)
    path = folder.path / "evaluations" / f"{data.spec.name}-{options.split}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, result)
    return {"data": data.spec.name, "split": options.split, **result, "path": str(path)}


def _attributes(options: Options, data: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return the groups of each example, of a run that gives a class for each."""
    if options.groups is None:
        return None
    task = data.get("task", "classification")
    if task != "classification" or data["per_step"]:
        what = "a class for each step" if data["per_step"] else task
        raise UsageError(f"--groups: expected a run that gives a class for each example, {options.run} is for {what}")
    return groups.read(options.groups)


def _configuration(stored: TrainConfig, options: Options, given: Mapping[str, Any]) -> TrainConfig:
    """Return the run's configuration, pointed at the data that the options name."""
    if options.dataset and options.data:
        raise UsageError("--dataset and --data: expected one of them, received both")
    same = ("classifier", "data_dir", "text_column", "label_column", "source", "target", "test_split_name", "skip_bad")
    changes = {name: given[name] for name in same if name in given}
    if options.dataset or options.data:
        changes = {"test_split_name": None} | changes  # other sets name their splits otherwise
        changes |= {
            "dataset": options.dataset,
            "data": options.data,
            "validation_data": None,
            "test_split": 0.0 if options.data else stored.test_split,
            "validation_split": 0.0,
        }
    if options.split == "test" and stored.task in (None, "classification") and not stored.validation_data:
        changes["validation_split"] = 0.0  # the test split is held out first, so it is the same without
    return dataclasses.replace(stored, **changes)


_SHOWN = ("accuracy", "precision", "recall", "f1", "top_5_accuracy", "bleu", "chrf", "exact_match", "mrr",
          "hits_at_1", "hits_at_3", "hits_at_10", "loss", "perplexity", "zero_shot_accuracy",
          "caption_to_image_recall_at_1", "caption_to_image_recall_at_5", "caption_to_image_recall_at_10",
          "image_to_caption_recall_at_1", "image_to_caption_recall_at_5", "image_to_caption_recall_at_10",
          "temperature", "answers_by", "frechet_distance", "density", "coverage", "recognised",
          "rarest_class")  # fmt: skip


def show(result: Mapping[str, Any]) -> None:
    """Print one line a number, and last the file that holds them."""
    print(f"{result['data']}, {result['split']} split, {result['examples']:,} examples")
    intervals = result["intervals"]
    for name in _SHOWN:
        if name in result:
            macro = " (macro)" if "accuracy" in result and name in ("precision", "recall", "f1") else ""
            value = result[name] if isinstance(result[name], str) else f"{result[name]:.4f}"
            within = f" ({ends(intervals[name], '.4f')})" if name in intervals else ""
            print(f"{name + macro:<18} {value}{within}")
    if intervals:
        print("in brackets: 95 % intervals, by a bootstrap over examples")
    if "no_intervals" in result:
        print(f"without an interval: {result['no_intervals']}")
    if "groups" in result:
        groups.show(result["groups"], result["gaps"])
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.evaluate runs/digits",
        "python -m zoo.evaluate runs/digits --split validation --json",
    ),
    prog="python -m zoo.evaluate",
    description="Measure a trained run on a split.",
)


if __name__ == "__main__":
    sys.exit(main())
