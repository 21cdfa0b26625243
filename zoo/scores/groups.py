"""Accuracy by group: read group labels of the examples, and measure the accuracy on each group."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.console import cli
from zoo.console.errors import UsageError, few
from zoo.console.figures import ends
from zoo.system.files import write_text

# Groups with fewer examples are shown but not compared.
FEWEST = 10
# Name of what is measured of own data without named splits.
WHOLE = "all"
_COLUMNS = ("data", "split", "attribute", "group", "examples", "accuracy", "lowest", "highest", "compared")


def named(split: str) -> str:
    """Return what was measured in words: "test split", or "all data"."""
    return "all data" if split == WHOLE else f"{split} split"


def read(path: Path) -> dict[str, list[str]]:
    """Read the values of the examples, by attribute, from a csv file whose header names the attributes.

    Args:
        path: Path of the file, with a row for each example.

    Raises:
        UsageError: If there is no such file, if it is not a table with a header, or if a column has a different value
            for each example.
    """
    if not path.is_file():
        raise UsageError(f"--groups {path}: expected a .csv file, found none")
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--groups {path}: expected a .csv file in UTF-8: {error}") from None
    names, *rows = [[cell.strip() for cell in row] for row in rows if row] or [[]]
    if not names or not rows:
        raise UsageError(f"--groups {path}: expected a header and a row for each example, received {len(rows)} rows")
    if "" in names or len(set(names)) < len(names) or any(map(_is_number, names)):
        raise UsageError(
            f"--groups {path}: expected a header that names each column once, received"
            f" {few([repr(name[:40]) for name in names])}"
        )
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise UsageError(f"--groups {path}: expected {len(names)} values in row {number}, received {len(row)}")
    found = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    for name, column in found.items():
        if len(column) > 1 and len(set(column)) == len(column):
            raise UsageError(
                f"--groups {path}: column {name!r}: expected groups of several examples, received a different value in"
                f" each of {len(column):,} rows, like an id"
            )
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_rows(path: Path, attributes: Mapping[str, Sequence[str]], count: int, split: str) -> None:
    """Raise UsageError unless there is a row for each example of a split.

    Args:
        path: Path of the csv file, for the message.
        attributes: Values of the examples, by attribute.
        count: Number of examples in the split.
        split: Name of the split, for the message.
    """
    received = len(next(iter(attributes.values())))
    if received == count:
        return
    which = named(split) if split == WHOLE else f"the {split} split"
    hint = "; the first line is read as the header: is it one?" if received == count - 1 else ""
    raise UsageError(
        f"--groups {path}: expected a row for each of the {count:,} examples of {which}, in the same order,"
        f" received {received:,}{hint}"
    )


def measured(attributes: Mapping[str, Sequence[str]], right: Sequence[bool]) -> list[dict[str, Any]]:
    """Return a row for each group of each attribute: examples, accuracy with its interval, and whether to compare it.

    Args:
        attributes: Values of the examples, by attribute.
        right: Whether the prediction for each example is correct.
    """
    from zoo.scores.intervals import of_share

    rows = []
    for attribute, values in attributes.items():
        members: dict[str, list[bool]] = {}
        for value, hit in zip(values, right, strict=True):
            members.setdefault(value, []).append(bool(hit))
        for group, chosen in sorted(members.items()):
            lowest, highest = of_share(sum(chosen), len(chosen))
            rows.append(
                {
                    "attribute": attribute,
                    "group": group,
                    "examples": len(chosen),
                    "accuracy": sum(chosen) / len(chosen),
                    "lowest": lowest,
                    "highest": highest,
                    "compared": len(chosen) >= FEWEST,
                }
            )
    return rows


def gaps(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each attribute, the worst of the compared groups and its gap to the best one.

    Args:
        rows: Rows from `measured`.
    """
    found = []
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        compared = [row for row in rows if row["attribute"] == attribute and row["compared"]]
        worst = min(compared, key=lambda row: row["accuracy"], default=None)
        best = max((row["accuracy"] for row in compared), default=None)
        several = len(compared) > 1
        found.append(
            {
                "attribute": attribute,
                "worst": worst["group"] if several else None,
                "gap": best - worst["accuracy"] if several else None,
            }
        )
    return found


def write(path: Path, data: str, split: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a csv file with a row for each group.

    Args:
        path: Path of the file.
        data: Name of the data.
        split: Name of the split.
        rows: Rows from `measured`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"data": data, "split": split, **row} for row in rows)
    write_text(path, text.getvalue())


def read_measured(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file written by `write`.

    Raises:
        UsageError: The file is damaged, or a row does not have the interval of its accuracy and number of examples.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                raise ValueError(f"expected the columns {', '.join(_COLUMNS)}, found {reader.fieldnames}")
            rows = [_typed(row, number) for number, row in enumerate(reader, 1)]
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path} is damaged: {error}") from None
    if not rows:
        raise UsageError(f"{path} is damaged: expected a row for each group, found none")
    return rows


def _typed(row: Mapping[Any, Any], number: int) -> dict[str, Any]:
    """Return a row of the file with its numbers, which must agree with each other."""
    from zoo.scores.intervals import of_share

    if None in row or None in row.values():
        raise ValueError(f"expected {len(_COLUMNS)} values in row {number}")
    numbers = {name: float(row[name]) for name in ("accuracy", "lowest", "highest")}
    examples, compared = int(row["examples"]), row["compared"]
    if examples < 1 or not 0 <= numbers["accuracy"] <= 1:
        raise ValueError(
            f"expected examples and a share of them in row {number}, found {examples} and {row['accuracy']}"
        )
    count = round(numbers["accuracy"] * examples)
    if not math.isclose(count / examples, numbers["accuracy"], abs_tol=1e-9):
        raise ValueError(f"expected a multiple of 1/{examples} as accuracy in row {number}, found {row['accuracy']}")
    ends = of_share(count, examples)
    if not all(math.isclose(a, numbers[b], abs_tol=1e-6) for a, b in zip(ends, ("lowest", "highest"), strict=True)):
        raise ValueError(f"the interval in row {number} is not the one of {count} of {examples} examples")
    if compared not in ("True", "False"):
        raise ValueError(f"expected True or False as compared in row {number}, found {compared!r}")
    return {**row, "examples": examples, **numbers, "compared": compared == "True"}


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the column titles and the formatted rows of a table.

    Args:
        rows: Rows from `measured`.
    """
    cells = [
        [
            row["attribute"],
            row["group"] or "(empty)",
            f"{row['examples']:,}",
            f"{row['accuracy']:.2%}",
            ends((row["lowest"], row["highest"]), ".2%"),
            "" if row["compared"] else f"fewer than {FEWEST} examples, not compared",
        ]
        for row in rows
    ]
    return ["attribute", "group", "examples", "accuracy", "95 %", ""], cells


def sentences(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each row of `gaps`."""
    return [
        f"{row['attribute']}: worst {row['worst'] or '(empty)'}, {100 * row['gap']:.2f} points below the best"
        if row["gap"] is not None
        else f"{row['attribute']}: fewer than two groups with at least {FEWEST} examples, nothing to compare"
        for row in found
    ]


def show(rows: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of groups and their gaps.

    Args:
        rows: Rows from `measured`.
        found: Rows from `gaps`.
    """
    cli.table(*table(rows))
    for sentence in sentences(found):
        print(sentence)
