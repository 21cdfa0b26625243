"""`python -m zoo.calibrate`: a copy of a trained classifier whose probabilities can be believed."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.console import cli
from zoo.ensemble.command import made, show
from zoo.ensemble.members import Member, classifier


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to calibrate, and where to write it."""

    run: Path = option("the run folder of a classifier", positional=True, stock_as="copy")
    output: Path | None = option("the run folder to write (default: RUN-calibrated)")
    data_dir: Path | None = option("where TFDS sets are prepared (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fit a temperature to the validation examples, and return the folder and metrics of the copy."""
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
        "Write a copy of a classifier whose logits are divided by the temperature that fits its validation examples"
        " best: the same classes, with probabilities that can be believed."
    ),
)


if __name__ == "__main__":
    sys.exit(main())
