"""`python -m compression`: list the words of a recipe, and what each does."""

import argparse
import inspect
import json
import sys
from collections.abc import Sequence

from compression.recipes.language import WORDS, parameters
from compression.searching.automatic import auto
from strategies import streams
from zoo.console import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, or a JSON list with --json."""
    parser = argparse.ArgumentParser(
        prog="python -m compression", description="List the words of a recipe, and what each does.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of the table")
    options = parser.parse_args(argv)

    rows = [
        (name, ", ".join(parameters(name)), " ".join(word.__doc__.partition("\n\n")[0].split()))
        for name, word in WORDS.items()
    ]
    rows.append(("auto", ", ".join(inspect.signature(auto).parameters), " ".join(auto.__doc__.split())))
    columns = ("word", "arguments", "what it does")
    if options.json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
    else:
        cli.table(columns, rows)
    return 0


if __name__ == "__main__":
    sys.exit(streams.outlasting("compression", main))
