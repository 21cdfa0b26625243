"""Sides of a comparison that take turns in one run on one machine, so that what drifts meets all of them alike.

A side is a process that `started` runs as `python -m MODULE WORDS`. It says that it is ready, and answers each line on
its standard input with a number: by `serve`, or where it is not its own master, by `ready`, `wait` and `answer`.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def ready(**facts: Any) -> None:
    """In a side's process: say that what is slow once is over, and what there is to know, such as parameters."""
    print(json.dumps(facts), flush=True)


def wait() -> None:
    """In a side's process: wait to be asked; where nobody will, end the process."""
    if not sys.stdin.readline():
        sys.exit()


def answer(value: float) -> None:
    """In a side's process: say what was measured."""
    print(json.dumps(value), flush=True)


def serve(measure: Callable[[], float], **facts: Any) -> None:
    """In a side's process: measure whenever asked; once before, for what is slow the first time."""
    measure()
    ready(**facts)
    while True:
        wait()
        answer(measure())


@contextlib.contextmanager
def started(module: str, words: Sequence[str]) -> Iterator[tuple[Callable[[], float], dict[str, Any]]]:
    """Start a side; yields what asks it for a number, and the facts that it told."""
    command = [sys.executable, "-m", module, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def told() -> Any:
        for line in process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # what a library prints
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
    """Let sides take turns.

    Args:
        module: that all of them run.
        sides: the words of each, by name.
        rounds: how often each is asked; the order is reversed every other time.

    Returns:
        of each side its facts and `rounds`, the numbers in order.
    """
    with contextlib.ExitStack() as stack:
        asked = {name: stack.enter_context(started(module, words)) for name, words in sides.items()}
        found: dict[str, dict[str, Any]] = {name: {**facts, "rounds": []} for name, (_, facts) in asked.items()}
        for number in range(rounds):
            for name in list(asked) if number % 2 == 0 else reversed(list(asked)):
                found[name]["rounds"].append(asked[name][0]())
    return found


def spread(rounds: Sequence[float]) -> float:
    """Return the median distance from the median, as a share of it."""
    middle = statistics.median(rounds)
    return statistics.median(abs(value - middle) for value in rounds) / middle if middle else 0.0


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of the ratios of each round, the least and the largest."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
