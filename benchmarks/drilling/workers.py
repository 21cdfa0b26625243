"""Kills of two workers that train together, and of the launcher that started them."""

import contextlib
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.drilling.children import Command, bits, leftovers
from benchmarks.drilling.outcome import Outcome

SEED = 0
KILLS, QUICK = 20, 2
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
INTERRUPTED = 130
_TRAINING = (
    "zoo.train --model simplenet --dataset digits --epochs 3 --batch-size 32 --deterministic --checkpoint-every 10"
    " --strategy multi_worker --output out"
)
_LAUNCH = "strategies.launch --workers 2 --restarts 1 --"
_PROCESS = re.compile(r"worker (\d) is process (\d+)")


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Kill either worker, which the launcher starts again, or the launcher, after which the command is given again.

    Args:
        folder: Folder for the runs.
        quick: Whether to kill 2 times instead of 20.
    """
    outcome = Outcome("kills of two workers and their launcher", "the same bits in the end, and no process is left")
    whole = folder / "whole"
    whole.mkdir()
    began = time.monotonic()
    if fault := _launched(whole, "said").end():
        outcome.faults.append(f"without a kill: {fault}")
        yield outcome
        return
    seconds, dice = time.monotonic() - began, random.Random(SEED)
    for attempt in range(QUICK if quick else KILLS):
        outcome.attempts += 1
        place = folder / str(attempt)
        place.mkdir()
        victim = ("worker 1", "launcher", "worker 0")[attempt % 3]
        number = dice.choice(SIGNALS) if victim == "launcher" else signal.SIGKILL
        moment = dice.uniform(0.2, seconds)
        faults = _attempt(place, victim, number, moment)
        faults += [] if bits(place / "out") == bits(whole / "out") else ["its bits differ"]
        how = f"{signal.Signals(number).name} to the {victim} after {moment:.2f} of {seconds:.2f} s"
        outcome.faults += [f"{attempt}, {how}: {fault}" for fault in faults]
        if not faults:
            shutil.rmtree(place)
    yield outcome


def _launched(place: Path, said: str, *more: str) -> Command:
    return Command([*_LAUNCH.split(), "python", "-m", *_TRAINING.split(), *more], place, place / said)


def _attempt(place: Path, victim: str, number: int, moment: float) -> list[str]:
    """Kill one of the processes, and return what is wrong."""
    faults = []
    child = _launched(place, "killed")
    began = time.monotonic()
    while time.monotonic() - began < moment and child.process.poll() is None:
        time.sleep(0.01)
    ended = child.process.poll() is not None
    pid = child.process.pid if victim == "launcher" else _worker(child, victim)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    fault = child.end()
    if victim == "launcher" and child.process.returncode not in (0, -number, INTERRUPTED):
        faults.append(f"the launcher {fault}")
    if victim != "launcher" and fault and not ended:
        faults.append(f"started again by the launcher, {fault}")
    faults += [f"a process was left: {words}" for words in child.orphans()]
    again = _launched(place, "again", "--resume")
    if fault := again.end():
        faults.append(f"given again, {fault}")
    faults += [f"a process was left: {words}" for words in again.orphans()]
    left = leftovers(place / "out") + sorted(path.name for path in again.temporary.iterdir())
    return faults + ([f"left behind: {', '.join(left[:5])}"] if left else [])


def _worker(child: Command, victim: str) -> int:
    """Return the process of a worker, which the launcher says on its first lines."""
    while True:
        found = dict(_PROCESS.findall(child.said.read_text(errors="replace")))
        if (index := victim[-1]) in found:
            return int(found[index])
        time.sleep(0.01)
