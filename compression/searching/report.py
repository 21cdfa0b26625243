"""Write the results of a search: CSV files and an HTML page."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compression.searching.page import page
from compression.searching.wording import ON_DEVICE
from zoo.system.files import write_text

PAGE, FRONT, FILES = "search.html", "front.csv", "files.csv"
COLUMNS = (
    "bytes",
    "gzip_bytes",
    "latency_ms",
    "accuracy",
    "test_accuracy",
    "estimate",
    "sha256",
    "path",
    "recipe",
    "command",
)


def write(result: Mapping[str, Any], folder: Path) -> None:
    """Write front.csv, files.csv and search.html into the folder of a search.

    Args:
        result: Content of search.json.
        folder: Folder of the search.
    """
    write_text(folder / FRONT, _table(result["front"]))
    write_text(folder / FILES, _table(result["files"]))
    write_text(folder / PAGE, page(result))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [*COLUMNS[:3], *(name for name in ON_DEVICE if any(name in row for row in rows)), *COLUMNS[3:]]
    writer.writerow(columns)
    writer.writerows([["" if row.get(name) is None else row[name] for name in columns] for row in rows])
    return text.getvalue()
