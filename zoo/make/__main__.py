"""`python -m zoo.make`: from data to one folder with a verified .tflite file, its receipt, card and code."""

import functools
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import task_facts
from zoo.config.options import option
from zoo.config.train_config import TrainConfig, command_line
from zoo.console import cli
from zoo.console.children import carry_out
from zoo.console.errors import Failed, UsageError
from zoo.console.figures import by_output, form_of
from zoo.console.values import Bytes
from zoo.runs.continuing import differences
from zoo.runs.folder import RunFolder
from zoo.system.files import write_json

NOTES, SHIPPED, TRIAL = "make.json", "ship", ".one-epoch"
# Options of zoo.train that say how data are read.
READING = (
    *("image_size", "text_column", "label_column", "columns", "target_column", "label_columns"),
    *("horizon", "lookback", "window", "hop", "time_column", "group_column"),
    *("normal_class", "user_column", "item_column", "rating_column", "liked"),
)
# Share of the minutes for training when a search follows it; the rest is the search's.
TRAINING_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make, and what may be overruled."""

    data: Path = option(
        "folder of pictures or sounds by class, or of pictures with masks or boxes; table (.csv, .tsv, .jsonl,"
        " .parquet); or .npz",
        positional=True,
    )
    max_bytes: Bytes | None = option("largest file, such as 20000 or 500k", metavar="SIZE", group="budget")
    max_arena: Bytes | None = option("largest arena in TFLite Micro, such as 64k", metavar="SIZE", group="budget")
    min_accuracy: float | None = option(
        "lowest accuracy of the file on validation examples", group="budget", within=(0, 1)
    )
    minutes: float | None = option(
        "time for training and search; without it, the default epochs and 12 trials", group="budget", within=(0.5, 1e5)
    )
    trials: int = option("number of recipes to try if there is a budget", 12, group="budget", within=(1, 10_000))
    model: str | None = option("model instead of the one that fits the data", group="choices")
    image_size: int | None = option("height and width of pictures instead of the chosen ones", group="choices")
    text_column: str | None = option("column of the texts of a table", group="choices")
    label_column: str | None = option("column of the labels of a table", group="choices")
    columns: tuple[str, ...] | None = option(
        "columns of a table to learn from, as for zoo.train", metavar="NAME[,...]", group="choices"
    )
    target_column: tuple[str, ...] | None = option(
        "column of a table to predict: classes if it has texts, otherwise numbers",
        metavar="NAME[,...]",
        group="choices",
    )
    label_columns: tuple[str, ...] | None = option(
        "columns of several labels of a table", metavar="NAME[,...]", group="choices"
    )
    horizon: int | None = option(
        "steps of a time series to forecast; the table has a row for each step", group="choices", within=(1, 10**6)
    )
    lookback: int | None = option(
        "steps that a forecast is made from, as for zoo.train", group="choices", within=(1, 10**6)
    )
    window: int | None = option("samples in a window of sensors", group="choices", within=(1, 10**6))
    hop: int | None = option("samples between the beginnings of windows", group="choices", within=(1, 10**6))
    time_column: str | None = option("column of the times of a table", group="choices")
    group_column: str | None = option("column that tells series, or the subjects of recordings, apart", group="choices")
    normal_class: tuple[str, ...] | None = option(
        "class that is normal, to detect all others as anomalies",
        metavar="NAME[,...]",
        group="choices",
    )
    user_column: str | None = option("column of the users of a table, to recommend items", group="choices")
    item_column: str | None = option("column of the items", group="choices")
    rating_column: str | None = option("column of the users' ratings of items", group="choices")
    liked: float | None = option("lowest rating that counts as liking an item", group="choices")
    epochs: int | None = option("epochs of the training instead of the default", group="choices", within=(1, 10**6))
    settings: Mapping[str, str] = option(
        "argument of the model's constructor; may be repeated", name="set", metavar="NAME=VALUE", group="choices"
    )
    recipe: str | None = option("recipe of the file, instead of the default or a search", group="choices")
    seed: int = option("random seed", 0, group="choices", within=(0, 2**32 - 1))
    output: Path | None = option("folder to write (default: made/NAME); an unfinished one is continued")

    @property
    def budget(self) -> dict[str, Any]:
        """Limits of the file, as options of a search."""
        names = ("max_bytes", "max_arena", "min_accuracy")
        return {f"--{name.replace('_', '-')}": value for name in names if (value := getattr(self, name)) is not None}


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Go the whole road, and return what was chosen, each command, and the file that ships."""
    options = Options(**given)
    if not options.data.exists():
        raise UsageError(f"{options.data}: expected a folder or a file of data, found none")
    if options.recipe and options.budget:
        raise UsageError(
            f"--recipe {options.recipe}: expected without {', '.join(options.budget)}, which choose recipes"
        )
    if options.max_arena is not None:
        from compression.devices import targets

        targets.check_installed(["--max-arena"])
    folder = options.output or Path("made") / (options.data.stem or "data")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: expected a folder, found a file")
    cli.say(f"{options.data}: looking at the data; writes {folder}")
    road = _Road(options, folder)
    words, chosen = road.choose()
    road.train(words)
    file = road.compress()
    road.prove(file)
    road.note(chosen, file)
    shipped = folder / SHIPPED / file.name
    return {"folder": str(folder), "chosen": chosen, "steps": road.steps, "path": str(shipped), **road.figures(file)}


class _Road:
    """The steps from data to a file, each a command of its own that can be typed again.

    Args:
        options: Options of the command.
        folder: Folder of the run and of everything else.
    """

    def __init__(self, options: Options, folder: Path):
        self.options, self.folder, self.steps = options, folder, []
        self.recipe = options.recipe

    def choose(self) -> tuple[list[str], str]:
        """Return the words of the training, and what was chosen and why as a sentence."""
        from compression import tasks
        from zoo.make import choice

        options = self.options
        reading = {name: value for name in READING if (value := getattr(options, name)) is not None}
        made, data = choice.choose(options.data, reading)
        if options.budget and tasks.of(data.spec.task).selected_by not in task_facts.of(data.spec.task).figures:
            raise UsageError(
                f"{next(iter(options.budget))}: expected data with classes, boxes or masks, because recipes are"
                " selected by accuracy, mAP or mIoU; --recipe names one"
            )
        self.recipe = self.recipe or made.recipe
        words = ["--model", options.model or made.model, "--data", str(options.data), "--seed", str(options.seed)]
        words += [word for name, value in reading.items() for word in (f"--{name.replace('_', '-')}", _typed(value))]
        words += [word for name, value in (options.settings or {}).items() for word in ("--set", f"{name}={value}")]
        further = (*(() if options.model else made.words), *made.reading)
        told = choice.described(made)
        if options.model:
            told = f"taken for {made.taken_for}; model {options.model}, as asked"
        cli.say(f"{options.data}: {len(data.train):,} training examples, {told}")
        return [*words, *further], told

    def train(self, words: Sequence[str]) -> None:
        """Train into the folder, unless that was done.

        Raises:
            UsageError: The folder holds a training with other options.
        """
        run, epochs = RunFolder(self.folder), self.options.epochs
        if run.started:
            asked = [*words, *(["--epochs", str(epochs)] if epochs else [])]
            if texts := differences(run.read_config()["config"], _given(asked)):
                raise UsageError(
                    f"--output {self.folder}: expected a new folder, or one with the same options, this one was begun"
                    f" with others: {'; '.join(texts)}"
                )
        if run.finished:
            cli.say(f"{self.folder} is trained already")
            return
        if epochs is None and self.options.minutes is not None and not run.started:
            epochs = self._affordable(words)
        more = ["--epochs", str(epochs)] if epochs else []
        again = ["--resume"] if run.started else []
        self._do("zoo.train", *([] if run.started else [*words, *more]), "--output", str(self.folder), *again)

    def _affordable(self, words: Sequence[str]) -> int | None:
        """Return the number of epochs that the minutes allow; None for the default if that is not more."""
        trial = self.folder / TRIAL
        shutil.rmtree(trial, ignore_errors=True)
        self._do("zoo.train", *words, "--epochs", "1", "--output", str(trial))
        seconds = max(RunFolder(trial).read_metrics()["seconds"], 1e-3)
        usual = _configured(words).epochs
        shutil.rmtree(trial)
        left = 60 * self.options.minutes * (TRAINING_SHARE if self.options.budget else 1.0)
        affordable = max(1, int(left / seconds))
        cli.say(f"an epoch takes {seconds:.1f} s: {min(affordable, usual)} epochs of the default {usual}")
        return None if affordable >= usual else affordable

    def compress(self) -> Path:
        """Return the file: the best within the budget, or that of the recipe."""
        options = self.options
        if not options.budget:
            made = self._do("compression.compress", str(self.folder), "--recipe", self.recipe)
            return Path(made["path"])
        limits = [word for name, value in options.budget.items() for word in (name, str(value))]
        time_limit = ["--time-limit", f"{60 * options.minutes * TRAINING_SHARE:.0f}s"] if options.minutes else []
        words = [str(self.folder), *limits, *time_limit, "--trials", str(options.trials), "--seed", str(options.seed)]
        found = self._do("compression.search", *words)
        return Path(found["folder"]) / found["winner"]["path"]

    def prove(self, file: Path) -> None:
        """Verify the file, write its code and the model card, and put together what ships."""
        self._do("compression.verify", str(file), str(self.folder))
        place = self.folder / SHIPPED
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path in [file, *sorted(file.parent.glob(f"{file.stem}.*"))]:
            if path.is_file() and path.suffix != ".png":
                shutil.copy(path, place)
        try:
            self._do("compression.snippets", str(place / file.name), "--output", str(place))
        except Failed as error:  # several inputs, or a file that keeps state
            cli.say(f"no code for phones and boards: {error}")
        self._do("zoo.card", str(self.folder))
        shutil.copy(RunFolder(self.folder).card_file, place)

    def note(self, chosen: str, file: Path) -> None:
        """Write down what was chosen and every command."""
        again = command_line("zoo.make", *sys.argv[1:])
        write_json(self.folder / NOTES, {"chosen": chosen, "again": again, "file": file.name, "steps": self.steps})

    def figures(self, file: Path) -> dict[str, Any]:
        """Return what was measured on the file."""
        receipt = json.loads(file.with_name(f"{file.stem}.receipt.json").read_text(encoding="utf-8"))
        return {
            "recipe": receipt["made"]["recipe"],
            "bytes": receipt["bytes"],
            "test": receipt.get("test", {}).get("litert", {}),
            "keras": receipt.get("test", {}).get("keras", {}),
            "arena_bytes": receipt.get("device", {}).get("arena_bytes"),
        }

    def _do(self, module: str, *words: str) -> dict[str, Any]:
        """Carry out a command in a process of its own, whose progress is shown, and return its result.

        Raises:
            UsageError: The command refused its input.
            Failed: The command failed.
            Interrupted: The command was interrupted.
        """
        command = command_line(module, *words)
        cli.say(f"$ {command}")
        began = time.monotonic()
        printed = carry_out(module, *words, "--json", typed=command, again="the same zoo.make goes on")
        self.steps.append({"command": command, "seconds": round(time.monotonic() - began, 1)})
        return json.loads(printed) if printed.strip() else {}


def _typed(value: Any) -> str:
    """Return the value of an option as it is typed."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _configured(words: Sequence[str]) -> TrainConfig:
    """Return the configuration that words of `zoo.train` give, with its default settings."""
    return TrainConfig(**_given(words)).resolved()


def _given(words: Sequence[str]) -> dict[str, Any]:
    """Return the options that words of `zoo.train` give."""
    given = cli.parse(TrainConfig, list(words), prog="zoo.train", description="")
    return {name: value for name, value in given.items() if name not in cli.FRAME}


def show(result: Mapping[str, Any]) -> None:
    """Print what was chosen, what the file reaches, where things are, and last the file."""
    print(f"{result['chosen']}")
    test = result["test"]
    name = next(
        (name for name in ("accuracy", "miou", "map_50", "auc") if name in test), next(iter(by_output(test)), "")
    )
    label, form = form_of(name)
    score = f", test {label} {test[name]:{form}} (Keras {result['keras'][name]:{form}})" if name else ""
    arena = f", arena {result['arena_bytes']:,} bytes" if result["arena_bytes"] else ""
    print(f"{result['bytes']:,} bytes{arena}{score}, recipe {result['recipe']}")
    folder = result["folder"]
    print(f"report: {folder}/report.html; to ship: {folder}/{SHIPPED}; every command: {folder}/{NOTES}")
    print(f"next:   {command_line('zoo.demo', folder)}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.make photographs --max-bytes 500k --minutes 30",
        "python -m zoo.make reviews.csv --output made/reviews",
    ),
    prog="python -m zoo.make",
    description="Make a verified .tflite file from data: choose a model, train, search within a budget, verify.",
)


if __name__ == "__main__":
    sys.exit(main())
