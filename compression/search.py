"""`python -m compression.search`: find the best file within a budget, and the Pareto front of size and accuracy."""

import contextlib
import dataclasses
import functools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.devices import targets
from compression.devices.targets import Target
from compression.pipeline import source
from compression.pipeline.source import OpenedRun
from compression.recipes.language import Kernel
from compression.recipes.options import ModelTraining
from compression.searching import space, studies
from compression.searching import worker as search_worker
from compression.searching.budget import ON_A_DEVICE, Budget
from compression.searching.plan import Sampler
from compression.searching.wording import ON_DEVICE, searched
from zoo.config.options import SEEDS, option
from zoo.config.run_options import ModelData
from zoo.config.train_config import flag
from zoo.console import cli
from zoo.console.errors import Failed, UsageError
from zoo.console.figures import duration
from zoo.console.values import Bytes, Count, Seconds
from zoo.guests import model as guest
from zoo.guests.model import OpenedModel
from zoo.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Options(ModelTraining, ModelData):
    """What to search, and the budget."""

    run: Path = option("run folder, or a model file (.keras, .h5) with its data", positional=True, stock_as="copy")
    max_bytes: Bytes | None = option("largest file, such as 20000, 20k or 20KiB", metavar="SIZE")
    max_gzip_bytes: Bytes | None = option("largest gzipped file", metavar="SIZE")
    max_latency_ms: float | None = option("largest median latency of one call, in milliseconds on this machine")
    max_arena: Bytes | None = option("largest arena in TFLite Micro, such as 32k", metavar="SIZE")
    max_flash: Bytes | None = option("largest flash without code, such as 100k", metavar="SIZE")
    max_cycles: Count | None = option(
        "most cycles of one call on an Ethos-U accelerator, such as 200k", metavar="CYCLES"
    )
    target: Target | None = option(
        "device of the three limits above (default: tflm, or ethos-u55-128 with --max-cycles), see compression.profile"
    )
    threads: int = option("number of threads for latencies: 1, or the cores of this process", 1)
    min_accuracy: float | None = option(
        "lowest accuracy of the file on validation examples, from 0 to 1 (default without any limit: half a percentage"
        " point below the run)"
    )
    trials: int = option("number of recipes to try, including those that are stopped early", 50)
    time_limit: Seconds | None = option(
        "time after which no further trial begins, such as 90s, 30m or 2h", metavar="TIME"
    )
    jobs: int = option("number of parallel processes", 1)
    space: Mapping[str, str] = option(
        "narrow a choice: width.conv_1=4:16, precision=int8,int4, 'width.*=2:8'; may be repeated", metavar="NAME=VALUES"
    )
    space_file: Path | None = option("TOML file with the same choices in a table [space]")
    teacher: tuple[str, ...] | None = option(
        "further teacher runs, separated by commas (the run itself is always one)", metavar="RUN[,...]"
    )
    lstm_kernel: Kernel = option("form of recurrent layers, see compress", "auto")
    sampler: Sampler = option("tpe learns from the trials, random does not", "tpe")
    seed: int = option("random seed of the sampler", 0, within=SEEDS)
    output: Path | None = option("folder of the search (default: RUN/search); an existing search is continued")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in (("trials", 1), ("jobs", 1), ("threads", 1), ("seed", 0)):
            if (value := getattr(self, name)) < low:
                raise UsageError(f"--{name}: expected at least {low}, received {value}")
        if self.jobs > self.trials:
            raise UsageError(f"--jobs {self.jobs}: expected at most the {self.trials} trials")
        if self.threads > 1 and self.max_latency_ms is None:
            raise UsageError(f"--threads {self.threads}: expected together with --max-latency-ms, received without it")
        if self.budget.device:
            targets.check_installed([flag(name) for name in ON_A_DEVICE if getattr(self, name) is not None])

    @property
    def budget(self) -> Budget:
        """Limits of the file."""
        return Budget(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Budget)})


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Search, and return the results.

    Raises:
        Failed: No file is within the budget. The message names the closest one, and the report is written anyway.
    """
    options = Options(**given)
    if options.output is None and guest.is_file(options.run):
        raise UsageError(source.NO_FOLDER)
    chosen = inputs_of(options, options.output or options.run / "search")
    opened, teachers = search_worker.open_runs(chosen)
    return carried_out(options, chosen, opened, teachers)


def inputs_of(options: Options, folder: Path) -> search_worker.SearchInputs:
    """Return what every process of a search opens."""
    names = ("dataset", "data", "data_dir", "input_range", *search_worker.TRAINING)
    return search_worker.SearchInputs(
        run=options.run,
        teachers=options.teacher or (),
        folder=folder,
        kernel=options.lstm_kernel,
        threads=options.threads,
        target=options.budget.device,
        options={name: value for name in names if (value := getattr(options, name)) is not None},
    )


def carried_out(
    options: Options,
    chosen: search_worker.SearchInputs,
    opened: OpenedRun | OpenedModel,
    teachers: Mapping[str, RunFolder],
) -> dict[str, Any]:
    """Search with what was opened, and return what `run` returns."""
    budget = options.budget
    narrowing = {**(space.read(options.space_file) if options.space_file else {}), **(options.space or {})}
    studies.check_file(chosen.folder)
    limited = f", or {duration(options.time_limit)}" if options.time_limit else ""
    cli.say(f"search for a recipe for {options.run}: up to {options.trials} trials{limited}; writes {chosen.folder}")
    subject = search_worker.load_subject(chosen, opened, teachers)
    from compression.searching import search as searching

    plan = searching.make_plan(
        subject,
        budget,
        narrowing,
        trials=options.trials,
        seconds=options.time_limit,
        sampler=options.sampler,
        seed=options.seed,
    )
    study = searching.open_study(subject, plan, chosen.folder, cli.say)
    others = [search_worker.start(chosen, plan, number) for number in range(1, options.jobs)]
    with _ended(others), _shown(plan.trials, alone=not others) as (say, told):
        searching.run_trials(subject, plan, study, say, told)
        for other in others:
            if other.wait():
                cli.say(f"a worker process ended with status {other.returncode}; the next search repeats its trial")
    found = searching.finish_search(subject, plan, study, chosen.folder, cli.say)
    if found.winner is None:
        raise Failed(searched(found.result) + f"; see {chosen.folder / 'search.html'}")
    return found.result


@contextlib.contextmanager
def _ended(others: list[subprocess.Popen]) -> Iterator[None]:
    """End the other processes with this one."""
    try:
        yield
    finally:
        for other in others:
            if other.poll() is None:
                other.send_signal(signal.SIGINT)
        for other in others:
            other.wait()


@contextlib.contextmanager
def _shown(trials: int, *, alone: bool) -> Iterator[tuple[Callable[[str], None], Callable[[int, float | None], None]]]:
    """Show a line for each trial, and a bar if this is the only process and it has a terminal.

    Yields:
        Functions that show a line, and the number of finished trials with the seconds that the others will take.
    """
    if not (alone and sys.stderr.isatty()):
        yield cli.say, lambda done, left: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("trials", total=trials, left="")
        yield (
            lambda text: bars.console.print(text, markup=False, highlight=False, soft_wrap=True),
            lambda done, left: bars.update(
                task, completed=done, left=f"about {duration(left)} left" if left else "", refresh=True
            ),
        )


def show(result: Mapping[str, Any]) -> None:
    """Print the Pareto front, the winner and its command, and last the file."""
    measured = [name for name in ON_DEVICE if any(name in row for row in result["front"])]
    columns = ("bytes", "gzip", "ms", *(ON_DEVICE[name] for name in measured), "validation", "test", "recipe")
    cli.table(columns, [_row(row, measured) for row in result["front"]])
    rho = result["rank_correlation"]
    print(
        f"{result['trials']} trials, {result['stopped_early']} stopped after an estimate without training"
        + ("" if rho is None else f", which ranks finished ones with a correlation of {rho:.2f}")
    )
    if result["failed"]:
        print(f"{len(result['failed'])} failed, the first: {result['failed'][0]}")
    winner = result["winner"]
    print(searched(result))
    print(f"again:  {winner['command']}")
    print(f"report: {result['report']}")
    print(f"{result['folder']}/{winner['path']}")


def _row(row: Mapping[str, Any], measured: Sequence[str]) -> tuple[str, ...]:
    test = "" if row["test_accuracy"] is None else f"{row['test_accuracy']:.2%}"
    sizes = (f"{row['bytes']:,}", f"{row['gzip_bytes']:,}", f"{row['latency_ms']:.3f}")
    sizes += tuple(f"{row[name]:,}" for name in measured)
    return (*sizes, f"{row['accuracy']:.2%}", test, row["recipe"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m compression.search runs/digits --max-bytes 20k --min-accuracy 0.985",
        "python -m compression.search runs/digits --max-arena 32k --max-cycles 200k --min-accuracy 0.95",
        "python -m compression.search mine.keras --data photographs --max-bytes 20k --output found",
    ),
    prog="python -m compression.search",
    description="Search for the recipe with the best .tflite file within a budget. Every file is measured.",
)


if __name__ == "__main__":
    sys.exit(main())
