"""`python -m zoo.sweep`: train a grid of configurations in parallel and compare them."""

import dataclasses
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.config.train_config import TrainConfig, command_line
from zoo.console import cli
from zoo.console.errors import Failed, Interrupted, UsageError
from zoo.runs import sealed
from zoo.runs.folder import PARENT
from zoo.sizing import adaptation
from zoo.sweep import comparison, grid, trainings
from zoo.system import temporary
from zoo.system.files import write_json

_OWN = [
    ("seeds", int, option("number of trainings of each configuration, with --seed, --seed + 1, ...", 1)),
    ("jobs", int, option("number of trainings in parallel; the cores are divided among them", 2)),
    ("resume", bool, option("resume the sweep in --output: keeps finished trainings and resumes the others", False)),
]
Options = dataclasses.make_dataclass("Options", [*grid.option_fields(), *_OWN], frozen=True, kw_only=True)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Train every configuration with every seed, and write the comparison."""
    own = Options(**given)
    for name in ("seeds", "jobs"):
        if getattr(own, name) < 1:
            raise UsageError(f"--{name}: expected at least 1, received {getattr(own, name)}")
    options = {
        name: value for name, value in given.items() if name not in ("seeds", "jobs", "resume", "seed", "output")
    }
    points = grid.points(options)
    folder = own.output or _default_output(points[0].given, resume=own.resume)
    plan = {"options": {k: str(v) for k, v in options.items()}, "seeds": own.seeds, "seed": own.seed}
    _claim(folder, plan, own.resume)
    jobs = [
        trainings.Job(p, own.seed + i, folder / f"{p.name}_seed-{own.seed + i}")
        for p in points
        for i in range(own.seeds)
    ]
    with trainings.shown(jobs) as told:
        stopped = trainings.train_all(jobs, own.jobs, told)
    result = comparison.write(folder, [(job.point.varied, job.seed, job.folder, job.state, job.said) for job in jobs])
    if stopped:
        again = command_line("zoo.sweep", *sys.argv[1:], *(() if own.resume else ("--resume",)))
        raise Interrupted(
            f"interrupted with {trainings.count(jobs, 'finished')} of {len(jobs)} finished; continue with: {again}"
        )
    if failed := result["failed"]:
        raise Failed(
            f"{len(failed)} of {len(jobs)} trainings failed, the first of them {failed[0]['run']}:"
            f" {failed[0]['reason']}; the others are compared in {folder / comparison.TABLE}"
        )
    return {"sweep": str(folder), **result}


def show(result: Mapping[str, Any]) -> None:
    """Print the comparison, and last the folder of the sweep."""
    cli.table(*comparison.table(result["configurations"]))
    print(f"picture: {result['sweep']}/{comparison.PICTURE}")
    print(result["sweep"])


def _default_output(given: Mapping[str, Any], *, resume: bool) -> Path:
    config = TrainConfig(**adaptation.separate(given)[0])
    base = PARENT / f"sweep-{config.model}-{config.data_name}"
    number, path = 1, base
    while path.exists() and not resume:
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _claim(folder: Path, plan: Mapping[str, Any], resume: bool) -> None:
    """Write the plan of a new sweep into its folder, or check that a sweep to resume has the same plan."""
    file = folder / "sweep.json"
    if folder.is_dir():
        temporary.sweep(folder)  # what a killed process left
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            hint = "; continue it with --resume" if file.is_file() else ""
            raise UsageError(f"--output {folder}: expected a new or empty folder, this one is not empty{hint}")
    elif not file.is_file():
        raise UsageError(f"--resume: expected the folder of a sweep, found no {file}; name it with --output")
    elif (stored := sealed.read(file)[0]) != plan:
        raise UsageError(f"--resume: {folder} is a sweep of {json.dumps(stored)}, now {json.dumps(plan)}")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, plan)


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.sweep --model cnn --learning-rate 1e-3,1e-2 --seeds 3",
        "python -m zoo.sweep --model simplenet,cnn --dataset mnist --set 'units=32|64' --epochs 5 --jobs 4",
    ),
    prog="python -m zoo.sweep",
    description=(
        "Train every combination of the given values, each with several seeds, in parallel, and compare the results."
        " Takes the options of zoo.train; separate several values by commas, or by | if a value contains commas."
    ),
)


if __name__ == "__main__":
    sys.exit(main())
