"""A worker process of a search, which opens the same run and study and runs trials until the search is complete.

It is started as `python -m compression.searching.worker JOB`, where JOB is the JSON from `start`.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.pipeline import source
from compression.pipeline.source import OpenedRun
from compression.recipes import language
from compression.recipes.language import Kernel
from compression.searching.budget import Budget
from compression.searching.plan import SearchPlan
from compression.searching.space import ITSELF, Space
from strategies import StrategyError, processes, streams
from zoo.config import privacy
from zoo.config.train_config import command_line, flag
from zoo.console import cli
from zoo.console.errors import INTERRUPTED, Failed, Interrupted, UsageError, of_machine
from zoo.guests.model import OpenedModel
from zoo.runs.folder import RunFolder
from zoo.system import temporary
from zoo.system.signals import interrupting

# The defaults with which `compress` trains a recipe.
ON_ONE_DEVICE = {
    "strategy": "none",
    "virtual_devices": 0,
    "model_devices": 0,
    "steps_per_execution": None,
    "shard": "data",
}

# Options that say how a model file is trained.
TRAINING = ("epochs", "batch_size", "learning_rate", "augment")
# Folder in that of the search for the file of a model file that is made again.
AGAIN = "again"


@dataclass(frozen=True)
class SearchInputs:
    """Inputs of a search that every process opens.

    Args:
        run: Run folder or model file to compress.
        teachers: Run folders of further teachers.
        folder: Folder of the search.
        kernel: Export form of recurrent layers.
        threads: Number of threads for latency measurements.
        target: Device that files are measured for; None for none.
        options: Options that name the data, and say how a model file is trained, for `source.opened`.
    """

    run: Path
    teachers: tuple[str, ...]
    folder: Path
    kernel: Kernel
    threads: int
    options: Mapping[str, Any]
    target: str | None = None


def open_runs(chosen: SearchInputs) -> tuple[OpenedRun | OpenedModel, dict[str, RunFolder]]:
    """Open the run or the model file, and its teachers by name, without importing Keras.

    Raises:
        UsageError: The run cannot be compressed, or another run cannot be its teacher.
    """
    found = source.opened(chosen.run, chosen.options)
    privacy.check_searched(found.config.private)
    if isinstance(found, OpenedModel):
        if chosen.teachers:
            raise UsageError("--teacher: expected with a run of the zoo; a model file has itself as teacher")
        return found, {}
    names = dict.fromkeys([str(chosen.run), *chosen.teachers])
    return found, {name: source.open_teacher(Path(name), found) for name in names}


def load_subject(
    chosen: SearchInputs,
    found: OpenedRun | OpenedModel,
    teachers: Mapping[str, RunFolder],
    loaded: tuple[Any, Any] | None = None,
) -> Any:
    """Return the `trials.SearchSubject` of a model and its data.

    Args:
        chosen: Inputs of the search.
        found: Run or model, as returned by `open_runs`.
        teachers: Teachers, as returned by `open_runs`.
        loaded: (keras.Model, Dataset) of `found`; default, they are loaded.
    """
    model, data = loaded or found.load()
    from compression.searching import search as explore
    from compression.searching import trials

    words = [] if chosen.kernel == "auto" else ["--lstm-kernel", chosen.kernel]
    words += source.load_words(found, chosen.options)
    training: list[Any] = []
    if of_file := isinstance(found, OpenedModel):
        given = {name: chosen.options.get(name) for name in TRAINING}
        training = [word for name, value in given.items() if value is not None for word in (flag(name), value)]
        words += ["--output", chosen.folder / AGAIN]
    unnamed = of_file and (found.path is None or found.data is not None)

    def command(recipe: str) -> str:
        ways = [*words, *training] if language.parse(recipe).stages else words
        return command_line("compression.compress", chosen.run, "--recipe", recipe, "--bare", *ways)

    return trials.SearchSubject(
        model,
        data,
        dataclasses.replace(found.config, **ON_ONE_DEVICE),
        {ITSELF: lambda: model} if of_file else {name: run.load_model for name, run in teachers.items()},
        chosen.folder / explore.FILES,
        threads=chosen.threads,
        target=chosen.target,
        kernel=chosen.kernel,
        provenance=found.provenance(),
        command=None if unnamed else command,
    )


def start(chosen: SearchInputs, plan: SearchPlan, number: int) -> subprocess.Popen:
    """Start a worker process.

    Args:
        chosen: Inputs of the search.
        plan: Plan of the search.
        number: Number of the worker, by which messages name it.
    """
    job = {
        "chosen": dataclasses.asdict(chosen),
        "plan": {**dataclasses.asdict(plan), "space": plan.space.to_json()},
        "number": number,
    }
    words = processes.command("compression.searching.worker", json.dumps(job, default=str))
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ))


def _read(values: Mapping[str, Any]) -> SearchInputs:
    """Return the inputs that were written as JSON."""
    options = {name: Path(v) if name in ("data", "data_dir") else v for name, v in values["options"].items()}
    if "input_range" in options:
        options["input_range"] = tuple(options["input_range"])
    paths = {name: Path(values[name]) for name in ("run", "folder")}
    return SearchInputs(**{**values, **paths, "teachers": tuple(values["teachers"]), "options": options})


def main(argv: Sequence[str]) -> int:
    """Run trials of the search that a job describes."""
    job = json.loads(argv[0])
    chosen = _read(job["chosen"])
    parts = {"space": Space.from_json(job["plan"]["space"]), "budget": Budget(**job["plan"]["budget"])}
    plan = SearchPlan(**job["plan"] | parts)
    try:
        with interrupting(), temporary.home():
            found, teachers = open_runs(chosen)
            opened = load_subject(chosen, found, teachers)
            from compression.searching import search as explore
            from compression.searching import studies

            study = studies.open_or_create(plan, chosen.folder, explore.facts(opened))
            explore.run_trials(opened, plan, study, cli.say)
    except (Interrupted, KeyboardInterrupt):
        return INTERRUPTED  # the search says so itself
    except (UsageError, StrategyError, Failed, OSError) as error:
        cli.say(f"compression.search: process {job['number']}: {of_machine(error) or error}")
        return 2 if isinstance(error, (UsageError, StrategyError)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(streams.outlasting("compression.search", functools.partial(main, sys.argv[1:])))
