"""`python -m zoo.sweep`: independent trainings side by side, and one comparison of them all."""

import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.config.train_config import TrainConfig, command_line
from zoo.console import cli
from zoo.console.errors import Failed, Interrupted, UsageError
from zoo.runs.folder import PARENT, RunFolder
from zoo.sizing import adaptation
from zoo.sweep import comparison, grid
from zoo.system.files import write_json

_OWN = [
    ("seeds", int, option("trainings of each configuration, with --seed, --seed + 1, ...", 1)),
    ("jobs", int, option("trainings at a time; each gets its share of the cores", 2)),
    ("resume", bool, option("go on with the sweep in --output: finished trainings stay, others go on", False)),
]
Options = dataclasses.make_dataclass("Options", [*grid.option_fields(), *_OWN], frozen=True, kw_only=True)
_EPOCH = re.compile(r"epoch (\d+)/(\d+)  (.*)")
INTERRUPTED = 130


@dataclass
class Job:
    """One training of a sweep.

    Args:
        point: its configuration.
        seed: of it.
        folder: its run folder.
        state: waiting, running, finished, failed or interrupted.
        said: the last that it said: its progress, or why it failed.
        share: of its epochs that are done, from 0 to 1.
    """

    point: grid.Point
    seed: int
    folder: Path
    state: str = "waiting"
    said: str = ""
    share: float = 0.0

    @property
    def title(self) -> str:
        return f"{self.point.name}, seed {self.seed}"


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
    jobs = [Job(p, own.seed + i, folder / f"{p.name}_seed-{own.seed + i}") for p in points for i in range(own.seeds)]
    with _shown(jobs) as told:
        stopped = _train_all(jobs, own.jobs, told)
    result = comparison.write(folder, [(job.point.varied, job.seed, job.folder, job.state, job.said) for job in jobs])
    if stopped:
        again = command_line("zoo.sweep", *sys.argv[1:], *(() if own.resume else ("--resume",)))
        raise Interrupted(
            f"interrupted with {_count(jobs, 'finished')} of {len(jobs)} finished; continue with: {again}"
        )
    if failed := result["failed"]:
        raise Failed(
            f"{len(failed)} of {len(jobs)} trainings failed, the first of them {failed[0]['run']}:"
            f" {failed[0]['reason']}; the others are compared in {folder / comparison.TABLE}"
        )
    return {"sweep": str(folder), **result}


def show(result: Mapping[str, Any]) -> None:
    """Print the comparison, and last the folder."""
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
    """Write what the sweep is into its folder, or check that it is the one to go on with."""
    file = folder / "sweep.json"
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            hint = "; continue it with --resume" if file.is_file() else ""
            raise UsageError(f"--output {folder}: expected a new or empty folder, this one is not empty{hint}")
    elif not file.is_file():
        raise UsageError(f"--resume: expected the folder of a sweep, found no {file}; name it with --output")
    elif (stored := json.loads(file.read_text(encoding="utf-8"))) != plan:
        raise UsageError(f"--resume: {folder} is a sweep of {json.dumps(stored)}, now {json.dumps(plan)}")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, plan)


def _train_all(jobs: Sequence[Job], at_once: int, told: Any) -> bool:
    """Run the jobs; return whether they were interrupted."""
    running: dict[int, subprocess.Popen] = {}
    stop = threading.Event()

    def stopping(number: int, frame: Any) -> None:
        again = stop.is_set()
        stop.set()
        for child in list(running.values()):
            child.send_signal(signal.SIGKILL if again else signal.SIGINT)

    def train(job: Job) -> None:
        if RunFolder(job.folder).finished:
            job.state, job.share = "finished", 1.0
        elif not stop.is_set():
            _train(job, at_once, running)
        told(job)

    before = {number: signal.signal(number, stopping) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(train, jobs))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return stop.is_set()


def _train(job: Job, at_once: int, running: dict[int, subprocess.Popen]) -> None:
    threads = str(max((os.cpu_count() or 1) // at_once, 1))
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    child = subprocess.Popen(
        [sys.executable, "-m", "zoo.train", *_words(job), "--json"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C of the terminal reaches us alone; we pass it on
    )
    running[id(job)], job.state = child, "running"
    with child.stderr:
        for line in child.stderr:
            if match := _EPOCH.match(line):
                job.share, job.said = int(match[1]) / int(match[2]), match[3]
            elif line.startswith("zoo.train: "):
                job.said = line.removeprefix("zoo.train: ").strip()
    status = child.wait()
    del running[id(job)]
    job.state = {0: "finished", INTERRUPTED: "interrupted"}.get(status, "failed")
    if status < 0:
        job.said = f"ended by {signal.Signals(-status).name}"


def _words(job: Job) -> list[str]:
    """Return the options of a job's `zoo.train`."""
    words = ["--seed", str(job.seed), "--output", str(job.folder), *(["--resume"] if job.folder.exists() else [])]
    for field in dataclasses.fields(adaptation.Options):
        value = job.point.given.get(field.name)
        flag = "--" + field.metadata.get("name", field.name).replace("_", "-")
        if field.name == "settings":
            words += [word for key, text in (value or {}).items() for word in ("--set", f"{key}={text}")]
        elif value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words


def _count(jobs: Sequence[Job], state: str) -> int:
    return sum(job.state == state for job in jobs)


@contextlib.contextmanager
def _shown(jobs: Sequence[Job]) -> Iterator[Any]:
    """Show on standard error how far all are: bars on a terminal, else a line as each ends; yields what tells one."""

    def line(job: Job) -> str:
        done = len(jobs) - _count(jobs, "waiting") - _count(jobs, "running")
        return f"[{done}/{len(jobs)}] {job.title}: {job.state}{f': {job.said}' if job.said else ''}"

    if not sys.stderr.isatty():
        yield lambda job: cli.say(line(job))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    ended = threading.Event()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        rows = {id(job): bars.add_task(job.title, total=1.0, visible=False) for job in jobs}
        total = bars.add_task("all", total=len(jobs))

        def refresh() -> None:
            for job in jobs:
                text = f"{job.title}  {job.said}"
                bars.update(rows[id(job)], completed=job.share, visible=job.state == "running", description=text)
            bars.update(total, completed=sum(job.share for job in jobs))

        def follow() -> None:
            while not ended.wait(0.2):
                refresh()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield lambda job: bars.console.print(line(job), markup=False, highlight=False)
        finally:
            ended.set()
            thread.join()
            refresh()


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
        "Train every combination of the values given, each with several seeds, side by side. Options are those of"
        " zoo.train; several values are separated by commas, or by | where a value has commas itself."
    ),
)


if __name__ == "__main__":
    sys.exit(main())
