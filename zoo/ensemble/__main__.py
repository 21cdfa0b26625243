"""`python -m zoo.ensemble`: combine trained classifiers into one model with a run folder of its own."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.ensemble.derived_run import SOUPS, made, show
from zoo.ensemble.members import Member, check_same_architecture, members_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `zoo.ensemble`."""

    runs: tuple[Path, ...] = option(
        "run folders of classifiers trained on the same data, or one run with snapshots",
        positional=True,
        metavar="RUN",
        stock_as="run",
    )
    method: Literal["soft", "weighted", "stacking", "soup", "greedy_soup"] = option(
        "soft: mean of the probabilities; weighted: weighted mean of the probabilities; stacking: head trained on the"
        " members' outputs; soup: one model with the mean of all weights; greedy_soup: the same, with only those"
        " members that do not lower the validation accuracy",
        "soft",
    )
    weights: tuple[float, ...] | None = option(
        "weights of the weighted mean, one per run (default: fitted on the validation split)", metavar="X,X,..."
    )
    calibrate: bool = option("divide the logits by a temperature fitted on the validation split", False)
    output: Path | None = option("run folder to write (default: runs/ensemble-DATA)")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the first run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Combine the runs into a new one, and return its folder and metrics."""
    options = Options(**given)
    members = members_of(options.runs)
    _check(options, members)
    return made(members, options.method, given, weights=options.weights, calibrate=options.calibrate)


def _check(options: Options, members: Sequence[Member]) -> None:
    """Raise a `UsageError` if the options do not match the members."""
    weights = options.weights
    if weights is not None:
        said = f"--weights {','.join(f'{w:g}' for w in weights)}"
        if options.method != "weighted":
            raise UsageError(f"{said}: expected with --method weighted, received with {options.method}")
        if len(weights) != len(members):
            raise UsageError(f"{said}: expected one for each of the {len(members)} members, received {len(weights)}")
        if min(weights) < 0 or not sum(weights) > 0:
            raise UsageError(f"{said}: expected numbers of at least 0, one of them above 0")
    if options.method in SOUPS:
        check_same_architecture(members)
        if options.calibrate:
            raise UsageError(
                f"--calibrate: expected with --method soft, weighted or stacking, received with {options.method}; use"
                " python -m zoo.calibrate on the resulting run"
            )


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.ensemble",
    description="Combine several trained classifiers into one model with a run folder of its own.",
)


if __name__ == "__main__":
    sys.exit(main())
