"""A further process of a search: opens the same run and the same study, and takes part until there are enough trials.

As `python -m compression.searching.worker JOB`, JOB the JSON of `start`.
"""

import dataclasses
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
from compression.searching.plan import Plan
from compression.searching.space import Space
from zoo.config import privacy
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.runs.folder import RunFolder

# As `compress` trains a recipe where it is not told otherwise.
ON_ONE_DEVICE = {
    "strategy": "none",
    "virtual_devices": 0,
    "model_devices": 0,
    "steps_per_execution": None,
    "shard": "data",
}


@dataclass(frozen=True)
class Chosen:
    """What every process of a search opens.

    Args:
        run: the run folder that is compressed.
        teachers: further run folders that may teach.
        folder: of the search.
        kernel: of recurrent layers.
        threads: that latencies are measured with.
        data_dir: where TFDS sets are prepared, if not where the run has it.
    """

    run: Path
    teachers: tuple[str, ...]
    folder: Path
    kernel: Kernel
    threads: int
    data_dir: Path | None


def checked(chosen: Chosen) -> tuple[OpenedRun, dict[str, RunFolder]]:
    """Return the run and those that teach it, by name, without importing Keras.

    Raises:
        UsageError: a run that cannot be compressed, or one that cannot teach it.
    """
    found = source.open_run(chosen.run, {"data_dir": chosen.data_dir} if chosen.data_dir else {})
    privacy.check_searched(found.config.private)
    names = dict.fromkeys([str(chosen.run), *chosen.teachers])
    return found, {name: source.open_teacher(Path(name), found) for name in names}


def subject(chosen: Chosen, found: OpenedRun, teachers: Mapping[str, RunFolder]) -> Any:
    """Load the model and its data, and return the `trials.Subject`."""
    model, data = found.load()
    from compression.searching import search as explore
    from compression.searching import trials

    return trials.Subject(
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


def start(chosen: Chosen, plan: Plan, number: int) -> subprocess.Popen:
    """Start a further process; its sampler draws otherwise by its number."""
    job = {
        "chosen": dataclasses.asdict(chosen),
        "plan": {**dataclasses.asdict(plan), "space": plan.space.to_json()},
        "number": number,
    }
    words = [sys.executable, "-m", "compression.searching.worker", json.dumps(job, default=str)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ))


def main(argv: Sequence[str]) -> int:
    """Take part in the search that a job describes."""
    job = json.loads(argv[0])
    paths = {name: path and Path(path) for name, path in job["chosen"].items() if name in ("run", "folder", "data_dir")}
    chosen = Chosen(**job["chosen"] | paths | {"teachers": tuple(job["chosen"]["teachers"])})
    parts = {"space": Space.from_json(job["plan"]["space"]), "budget": Budget(**job["plan"]["budget"])}
    plan = Plan(**job["plan"] | parts)
    found, teachers = checked(chosen)
    opened = subject(chosen, found, teachers)
    from compression.searching import search as explore
    from compression.searching import studies

    study = studies.opened(plan, chosen.folder, explore.facts(opened), number=job["number"])
    explore.took_part(opened, plan, study, cli.say)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
