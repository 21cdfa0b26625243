"""Write the page: one self-contained HTML file, which loads nothing and works offline."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compression.comparison import described
from zoo.console.errors import UsageError
from zoo.system.files import write_text

PARTS = Path(__file__).with_name("parts")
NAME = "compression.html"
# Recipes of the files that the others are compared with.
IN_FLOAT, PLAIN = "float32", "int8"


def write(paths: Sequence[Path], page: Path, title: str) -> dict[str, Any]:
    """Write the page of some files.

    Args:
        paths: Files, each with its receipt beside it; one whose receipt is missing or damaged is left out and named.
        page: Path of the page.
        title: Title of the page.

    Returns:
        Content of the page: title, files, and left_out, a sentence for each file that is not shown.

    Raises:
        UsageError: No file can be shown.
    """
    reference = next((path for path in paths if path.stem == IN_FLOAT), None)
    files, left_out, before = [], [], None
    if reference is not None:
        try:
            before = described.in_float32(reference)
        except UsageError as error:
            left_out.append(str(error))
    for path in paths:
        try:
            files.append(described.file(path, before))
        except UsageError as error:
            left_out.append(str(error))
    if not files:
        raise UsageError(f"{title}: expected .tflite files with receipts; {'; '.join(left_out) or 'there are none'}")
    _distinguish(files)
    found = {"title": title, "files": files, "left_out": list(dict.fromkeys(left_out)), "references": [IN_FLOAT, PLAIN]}
    write_text(page, render(found))
    return found


def _distinguish(files: list[dict[str, Any]]) -> None:
    """Give files of one label the run or model they were made from, and further ones a number."""
    for row in files:
        alike = [other for other in files if other["label"] == row["label"]]
        if len({other["made_from"] for other in alike}) > 1:
            row["name"] = f"{row['label']} · {row['made_from']}"
        elif len(alike) > 1:
            row["name"] = f"{row['label']} · {alike.index(row) + 1}"
        else:
            row["name"] = row["label"]


def render(found: dict[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        found: Content of the page, as `write` returns it.
    """
    body = (PARTS / "page.html").read_text(encoding="utf-8")
    words = {
        "title": html.escape(found["title"]),
        "style": (PARTS / "page.css").read_text(encoding="utf-8"),
        "script": (PARTS / "page.js").read_text(encoding="utf-8"),
        "data": json.dumps(found).replace("<", "\\u003c"),
    }
    for name, value in words.items():
        body = body.replace("{{" + name + "}}", value)
    return body
