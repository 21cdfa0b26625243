"""`python -m zoo.ensemble`: several trained classifiers as one, in a run folder like any other."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.ensemble.command import SOUPS, made, show
from zoo.ensemble.members import Member, check_same_architecture, members_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make one of, and how."""

    runs: tuple[Path, ...] = option(
        "run folders of classifiers of the same data, or one that kept snapshots",
        positional=True,
        metavar="RUN",
        stock_as="run",
    )
    method: Literal["soft", "weighted", "stacking", "soup", "greedy_soup"] = option(
        "the mean of probabilities, a weighted mean, a head over all, or one model with the mean of all weights, or of"
        " those that help",
        "soft",
    )
    weights: tuple[float, ...] | None = option(
        "of the weighted mean, one a run (default: fitted to the validation examples)", metavar="X,X,..."
    )
    calibrate: bool = option("divide the logits by the temperature that fits the validation examples best", False)
    output: Path | None = option("the run folder to write (default: runs/ensemble-DATA)")
    data_dir: Path | None = option("where TFDS sets are prepared (default: the first run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make one of the runs, and return its folder and metrics."""
    options = Options(**given)
    members = members_of(options.runs)
    _check(options, members)
    return made(members, options.method, given, weights=options.weights, calibrate=options.calibrate)


def _check(options: Options, members: Sequence[Member]) -> None:
    """Raise UsageError where options and members do not fit together."""
    weights = options.weights
    if weights is not None:
        said = f"--weights {','.join(f'{w:g}' for w in weights)}"
        if options.method != "weighted":
            raise UsageError(f"{said}: expected with --method weighted, received with {options.method}")
        if len(weights) != len(members):
            raise UsageError(f"{said}: expected one for each of the {len(members)} members, received {len(weights)}")
        if min(weights) < 0 or not sum(weights) > 0:
            raise UsageError(f"{said}: expected numbers of 0 or more, and one above it")
    if options.method in SOUPS:
        check_same_architecture(members)
        if options.calibrate:
            raise UsageError(
                f"--calibrate: expected with votes or a head; a {options.method} is one model of the members' kind,"
                " which python -m zoo.calibrate takes"
            )


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.ensemble",
    description="Make several trained classifiers into one, in a run folder like any other.",
)


if __name__ == "__main__":
    sys.exit(main())
