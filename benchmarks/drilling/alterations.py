"""Alterations of run folders and checkpoints: each must be noticed, or make no difference.

Every attempt alters a fresh copy of a small run in one way and runs one command. The seed of an attempt is its number.
Left out by construction are fields that a run only tells, such as the command line of config.json: paths of data, which
may be edited because data may move, and the hashes themselves.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.drilling import alterations_of_checkpoints, alterations_of_receipts, alterations_of_runs, altering
from benchmarks.drilling.outcome import Outcome

ATTEMPTS, QUICK = 50, 10


def drill(folder: Path, quick: bool) -> Iterator[Outcome]:
    """Alter checkpoints and data between a kill and `--resume`, and files of finished runs before a command reads them.

    Args:
        folder: Empty folder for the runs.
        quick: Whether to make 20 alterations instead of 100.
    """
    place = altering.made(folder)
    count = QUICK if quick else ATTEMPTS
    yield alterations_of_checkpoints.resumed(place, count)
    yield alterations_of_runs.read(place, count)
    (folder / "receipts").mkdir()
    yield from alterations_of_receipts.drill(folder / "receipts", quick)
