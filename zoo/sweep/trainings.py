"""The trainings of a sweep: child processes of `zoo.train` that run side by side, and their progress."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from strategies import processes
from zoo.console import cli
from zoo.console.errors import INTERRUPTED
from zoo.runs.folder import RunFolder
from zoo.sizing import adaptation
from zoo.sweep import grid
from zoo.system.signals import handled

_EPOCH = re.compile(r"epoch (\d+)/(\d+)  (.*)")


@dataclass
class Job:
    """One training of a sweep.

    Args:
        point: Configuration of the training.
        seed: Random seed.
        folder: Run folder.
        state: State of the training: waiting, running, finished, failed or interrupted.
        said: Last message: the progress, or the reason of a failure.
        share: Share of finished epochs, from 0 to 1.
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


def train_all(jobs: Sequence[Job], at_once: int, report: Callable[[Job], None]) -> bool:
    """Run the jobs and return whether they were interrupted.

    Args:
        jobs: Trainings to run. Finished ones are skipped.
        at_once: Number of trainings that run at the same time.
        report: Function called with each job when it ends.
    """
    running: dict[int, subprocess.Popen] = {}
    stop = threading.Event()

    def stopping(number: int, frame: object) -> None:
        again = stop.is_set()
        stop.set()
        for child in list(running.values()):
            child.send_signal(signal.SIGKILL if again else signal.SIGINT)

    def train(job: Job) -> None:
        if RunFolder(job.folder).finished:
            job.state, job.share = "finished", 1.0
        elif not stop.is_set():
            _train(job, at_once, running)
        report(job)

    with handled(stopping), ThreadPoolExecutor(at_once) as pool:
        list(pool.map(train, jobs))
    return stop.is_set()


def _train(job: Job, at_once: int, running: dict[int, subprocess.Popen]) -> None:
    threads = str(max((os.cpu_count() or 1) // at_once, 1))
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    child = subprocess.Popen(
        processes.command("zoo.train", *words(job), "--json"),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
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


def words(job: Job) -> list[str]:
    """Return the options of `zoo.train` for a job."""
    found = ["--seed", str(job.seed), "--output", str(job.folder), *(["--resume"] if job.folder.exists() else [])]
    for field in dataclasses.fields(adaptation.Options):
        value = job.point.given.get(field.name)
        flag = "--" + field.metadata.get("name", field.name).replace("_", "-")
        if field.name == "settings":
            found += [word for key, text in (value or {}).items() for word in ("--set", f"{key}={text}")]
        elif value is True:
            found.append(flag)
        elif value is not None and value is not False:
            found += [flag, str(value)]
    return found


def count(jobs: Sequence[Job], state: str) -> int:
    """Return the number of jobs in a state."""
    return sum(job.state == state for job in jobs)


@contextlib.contextmanager
def shown(jobs: Sequence[Job]) -> Iterator[Callable[[Job], None]]:
    """Show the progress of the jobs on standard error: bars on a terminal, otherwise a line for each finished job.

    Yields:
        The function to call with each job that ends.
    """

    def line(job: Job) -> str:
        done = len(jobs) - count(jobs, "waiting") - count(jobs, "running")
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
