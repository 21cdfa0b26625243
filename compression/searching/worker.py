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
from compression.recipes.language import Kernel
from compression.searching.budget import Budget
from compression.searching.plan import SearchPlan
from compression.searching.space import Space
from strategies import StrategyError, processes, streams
from zoo.config import privacy
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import INTERRUPTED, Failed, Interrupted, UsageError, of_machine
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


@dataclass(frozen=True)
class SearchInputs:
    """Inputs of a search that every process opens.

    Args:
        run: Run folder to compress.
        teachers: Run folders of further teachers.
        folder: Folder of the search.
        kernel: Export form of recurrent layers.
        threads: Number of threads for latency measurements.
        data_dir: Folder of prepared TFDS datasets, or None for the run's own.
    """

    run: Path
    teachers: tuple[str, ...]
    folder: Path
    kernel: Kernel
    threads: int
    data_dir: Path | None


def open_runs(chosen: SearchInputs) -> tuple[OpenedRun, dict[str, RunFolder]]:
    """Open the run and its teachers, by name, without importing Keras.

    Raises:
        UsageError: The run cannot be compressed, or another run cannot be its teacher.
    """
    found = source.open_run(chosen.run, {"data_dir": chosen.data_dir} if chosen.data_dir else {})
    privacy.check_searched(found.config.private)
    names = dict.fromkeys([str(chosen.run), *chosen.teachers])
    return found, {name: source.open_teacher(Path(name), found) for name in names}


def load_subject(chosen: SearchInputs, found: OpenedRun, teachers: Mapping[str, RunFolder]) -> Any:
    """Load the model and its data, and return the `trials.SearchSubject`.

    Args:
        chosen: Inputs of the search.
        found: Run, as returned by `open_runs`.
        teachers: Teachers, as returned by `open_runs`.
    """
    model, data = found.load()
    from compression.searching import search as explore
    from compression.searching import trials

    return trials.SearchSubject(
        model,
        data,
        dataclasses.replace(found.config, **ON_ONE_DEVICE),
        {name: run.load_model for name, run in teachers.items()},
        chosen.folder / explore.FILES,
        threads=chosen.threads,
        kernel=chosen.kernel,
        provenance=found.provenance(),
        command=lambda recipe: command_line(
            "compression.compress",
            *(chosen.run, "--recipe", recipe, "--bare"),
            *(() if chosen.kernel == "auto" else ("--lstm-kernel", chosen.kernel)),
            *(("--data-dir", chosen.data_dir) if chosen.data_dir else ()),
        ),
    )


def start(chosen: SearchInputs, plan: SearchPlan, number: int) -> subprocess.Popen:
    """Start a worker process.

    Args:
        chosen: Inputs of the search.
        plan: Plan of the search.
        number: Number of the worker, from which its sampler is seeded.
    """
    job = {
        "chosen": dataclasses.asdict(chosen),
        "plan": {**dataclasses.asdict(plan), "space": plan.space.to_json()},
        "number": number,
    }
    words = processes.command("compression.searching.worker", json.dumps(job, default=str))
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ))


def main(argv: Sequence[str]) -> int:
    """Run trials of the search that a job describes."""
    job = json.loads(argv[0])
    paths = {name: path and Path(path) for name, path in job["chosen"].items() if name in ("run", "folder", "data_dir")}
    chosen = SearchInputs(**job["chosen"] | paths | {"teachers": tuple(job["chosen"]["teachers"])})
    parts = {"space": Space.from_json(job["plan"]["space"]), "budget": Budget(**job["plan"]["budget"])}
    plan = SearchPlan(**job["plan"] | parts)
    try:
        with interrupting(), temporary.home():
            found, teachers = open_runs(chosen)
            opened = load_subject(chosen, found, teachers)
            from compression.searching import search as explore
            from compression.searching import studies

            study = studies.open_or_create(plan, chosen.folder, explore.facts(opened), number=job["number"])
            explore.run_trials(opened, plan, study, cli.say)
    except (Interrupted, KeyboardInterrupt):
        return INTERRUPTED  # the search says so itself
    except (UsageError, StrategyError, Failed, OSError) as error:
        cli.say(f"compression.search: process {job['number']}: {of_machine(error) or error}")
        return 2 if isinstance(error, (UsageError, StrategyError)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(streams.outlasting("compression.search", functools.partial(main, sys.argv[1:])))
