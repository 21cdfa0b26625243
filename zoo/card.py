"""`python -m zoo.card`: write the model card of a run from its measurements."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.receipts.artifacts import read_receipt
from zoo.config.options import option
from zoo.console import cli
from zoo.reports import model_card
from zoo.runs.folder import RunFolder
from zoo.system.files import write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `zoo.card`."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    output: Path | None = option("file to write (default: MODEL_CARD.md in the run folder)", metavar="FILE")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write the card, and return its path and the measurements it lists as missing."""
    options = Options(**given)
    folder = RunFolder(options.run)
    text, missing = model_card.card(folder, read_receipt)
    path = options.output or folder.card_file
    model_card.check_free(path)
    write_text(path, text)
    return {"run": str(folder.path), "not_measured": missing, "path": str(path)}


def show(result: Mapping[str, Any]) -> None:
    """Print the missing measurements, and last the path of the card."""
    print(f"not measured: {', '.join(line.partition(':')[0] for line in result['not_measured'])}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.card",
    description="Write the model card of a run, filled in from its measurements.",
)


if __name__ == "__main__":
    sys.exit(main())
