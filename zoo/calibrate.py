"""`python -m zoo.calibrate`: write a copy of a trained classifier with calibrated probabilities."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.console import cli
from zoo.ensemble.derived_run import made, show
from zoo.ensemble.members import Member, classifier


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `zoo.calibrate`."""

    run: Path = option("run folder of a classifier", positional=True, stock_as="copy")
    output: Path | None = option("run folder to write (default: RUN-calibrated)")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fit the temperature on the validation split, and return the folder and metrics of the calibrated copy."""
    options = Options(**given)
    member = Member(classifier(options.run))
    output = options.output or options.run.with_name(f"{options.run.resolve().name}-calibrated")
    return made([member], "soft", {**given, "output": output}, "zoo.calibrate", calibrate=True)


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.calibrate",
    description=(
        "Calibrate a classifier by temperature scaling. The temperature is fitted on the validation split; predicted"
        " classes stay the same."
    ),
)


if __name__ == "__main__":
    sys.exit(main())
