"""`python -m strategies`: list the strategies that can run on this machine, and why the others cannot."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from strategies import backend, describe, engine, streams


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of strategies, or a JSON list with --json."""
    parser = argparse.ArgumentParser(
        prog="python -m strategies",
        description="List the strategies that can run on this machine, and why the others cannot.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of the table")
    options = parser.parse_args(argv)

    backend.start(engine("none"))
    rows = describe()
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return 0
    for row in rows:
        if row.available:
            print(f"{row.name:<17} yes  {', '.join(row.devices)}: {row.summary}")
        else:
            print(f"{row.name:<17} no   {row.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(streams.outlasting("strategies", main))
