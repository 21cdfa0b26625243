"""`python -m zoo.compare`: draw a page that compares the .tflite files of runs, folders and files."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where the page goes."""

    places: tuple[Path, ...] = option(
        "run folders, folders of .tflite files with receipts, or files", positional=True, metavar="RUN_OR_FILE"
    )
    output: Path = option("page to write", Path("comparison.html"), metavar="FILE")
    title: str | None = option("title of the page (default: the names of the places)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write the page, and return its path and what each file costs and scores."""
    options = Options(**given)
    for place in options.places:
        if not place.exists():
            raise UsageError(f"{place}: expected a run, a folder of .tflite files or a file, found none")
    if not options.output.absolute().parent.is_dir():
        raise UsageError(f"--output {options.output}: expected a path in a folder that exists")
    from compression.comparison import described, page

    paths = [path for place in options.places for path in described.found_in(place)]
    if not paths:
        places = ", ".join(map(str, options.places))
        raise UsageError(f"{places}: expected .tflite files with receipts, found none; make them with compress")
    title = options.title or f"Files of {', '.join(place.stem for place in options.places)}"
    found = page.write(list(dict.fromkeys(paths)), options.output, title)
    rows = [
        {
            key: row[key]
            for key in ("name", "file", "path", "recipe", "bytes", "gzip_bytes", "scores", "parity", "device")
        }
        for row in found["files"]
    ]
    return {"files": rows, "left_out": found["left_out"], "path": str(options.output)}


def show(result: Mapping[str, Any]) -> None:
    """Print a row for each file, and last the path of the page."""
    scores = [row["scores"][0] for row in result["files"] if row["scores"]]
    rows = []
    for row in result["files"]:
        first = row["scores"][0] if row["scores"] else None
        shown = "" if first is None else f"{first['value']:.2%}" if first["percent"] else f"{first['value']:,.6g}"
        if first is not None and first["label"] != scores[0]["label"]:  # a file of another task
            shown = f"{first['label']} {shown}"
        device = row["device"]
        extra = ["" if device[key] is None else f"{device[key]:,}" for key in ("arena_bytes", "cycles")]
        rows.append((row["name"], f"{row['bytes']:,}", f"{row['gzip_bytes']:,}", shown, *extra))
    cli.table(("file", "bytes", "gzip", scores[0]["label"] if scores else "score", "arena", "cycles"), rows)
    for sentence in result["left_out"]:
        print(f"left out: {sentence}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    examples=(
        "python -m zoo.compare runs/digits",
        "python -m zoo.compare runs/a runs/b small/int8.tflite --output comparison.html",
    ),
    prog="python -m zoo.compare",
    description="Draw a page that compares .tflite files: score against cost, bytes by layer, weights, operators.",
)


if __name__ == "__main__":
    sys.exit(main())
