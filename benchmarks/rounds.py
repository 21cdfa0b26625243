"""Comparison of several sides that alternate on one machine, so that drifts of its speed affect all of them equally.

A side is a process that `started` runs as `python -m MODULE WORDS`. It reports that it is ready, and answers each line
on its standard input with a number. It calls `serve`, or `ready`, `wait` and `answer` if it controls its own loop.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def ready(**facts: Any) -> None:
    """Report that this side has warmed up. Call it in the side's process.

    Args:
        facts: JSON-serialisable facts about the side, such as its number of parameters.
    """
    print(json.dumps(facts), flush=True)


def wait() -> None:
    """Wait for the next request, or end the process if there is none. Call it in the side's process."""
    if not sys.stdin.readline():
        sys.exit()


def answer(value: float) -> None:
    """Report a measurement. Call it in the side's process."""
    print(json.dumps(value), flush=True)


def serve(measure: Callable[[], float], **facts: Any) -> None:
    """Warm up by one measurement, then measure on every request. Call it in the side's process.

    Args:
        measure: Function that returns a measurement.
        facts: JSON-serialisable facts about the side.
    """
    measure()
    ready(**facts)
    while True:
        wait()
        answer(measure())


@contextlib.contextmanager
def started(module: str, words: Sequence[str]) -> Iterator[tuple[Callable[[], float], dict[str, Any]]]:
    """Start a side, and yield a function that requests a measurement, and the facts it reported.

    Args:
        module: Module that the side runs.
        words: Arguments of the module.
    """
    command = [sys.executable, "-m", module, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def told() -> Any:
        for line in process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # output of a library
                return json.loads(line)
        raise subprocess.CalledProcessError(process.wait(), command)

    def ask() -> float:
        process.stdin.write("go\n")
        process.stdin.flush()
        return told()

    try:
        yield ask, told()
    finally:
        process.kill()
        process.communicate()


def in_turn(module: str, sides: Mapping[str, Sequence[str]], rounds: int) -> dict[str, dict[str, Any]]:
    """Measure several sides in turn.

    Args:
        module: Module that all sides run.
        sides: Arguments of each side, by name.
        rounds: Number of measurements of each side. The order is reversed every other round.

    Returns:
        The facts of each side, and its measurements in order under `rounds`, by name.
    """
    with contextlib.ExitStack() as stack:
        asked = {name: stack.enter_context(started(module, words)) for name, words in sides.items()}
        found: dict[str, dict[str, Any]] = {name: {**facts, "rounds": []} for name, (_, facts) in asked.items()}
        for number in range(rounds):
            for name in list(asked) if number % 2 == 0 else reversed(list(asked)):
                found[name]["rounds"].append(asked[name][0]())
    return found


def spread(rounds: Sequence[float]) -> float:
    """Return the median absolute deviation, relative to the median."""
    middle = statistics.median(rounds)
    return statistics.median(abs(value - middle) for value in rounds) / middle if middle else 0.0


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, minimum and maximum of the ratios of each round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
