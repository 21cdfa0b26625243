"""Subgroups of a split: reading who is in which, and how accurate a model is on each."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.console.figures import ends
from zoo.system.files import write_text

# Groups with fewer examples are shown, and not compared.
FEWEST = 10
_COLUMNS = ("data", "split", "attribute", "group", "examples", "accuracy", "lowest", "highest", "compared")


def read(path: Path) -> dict[str, list[str]]:
    """Return the value of each example, by attribute: of a csv, whose header names the attributes.

    Raises:
        UsageError: no such file, none that says who is in which group, or a column that says who is who.
    """
    if not path.is_file():
        raise UsageError(f"--groups {path}: expected a .csv file, found none")
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--groups {path}: expected a .csv file in UTF-8, it cannot be read as one: {error}") from None
    names, *rows = [[cell.strip() for cell in row] for row in rows if row] or [[]]
    if not names or not rows:
        raise UsageError(f"--groups {path}: expected a header and a row for each example, received {len(rows)} rows")
    if "" in names or len(set(names)) < len(names) or any(map(_is_number, names)):
        raise UsageError(
            f"--groups {path}: expected a header that names each column once, received {', '.join(map(repr, names))}"
        )
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise UsageError(f"--groups {path}: expected {len(names)} values in row {number}, received {len(row)}")
    found = {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    for name, column in found.items():
        if len(column) > 1 and len(set(column)) == len(column):
            raise UsageError(
                f"--groups {path}: column {name!r}: expected groups of several examples, received another value in each"
                f" of {len(column):,} rows, as an id has"
            )
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_rows(path: Path, attributes: Mapping[str, Sequence[str]], count: int, split: str) -> None:
    """Raise UsageError unless there is a row for each of `count` examples of a split."""
    received = len(next(iter(attributes.values())))
    if received == count:
        return
    hint = "; the first line counts as the header: is it one?" if received == count - 1 else ""
    raise UsageError(
        f"--groups {path}: expected a row for each of the {count:,} examples of the {split} split, in its order,"
        f" received {received:,}{hint}"
    )


def measured(attributes: Mapping[str, Sequence[str]], right: Sequence[bool]) -> list[dict[str, Any]]:
    """Return a row for each group of each attribute: examples, accuracy with its interval, and whether to compare it.

    Args:
        attributes: the value of each example.
        right: whether each is right.
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
    """Return of each attribute the worst group and how far it is from the best, among those that are compared."""
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
    """Write a csv: a row for each group, and of which data and split it is."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"data": data, "split": split, **row} for row in rows)
    write_text(path, text.getvalue())


def read_measured(path: Path) -> list[dict[str, Any]]:
    """Return the rows that `write` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                **row,
                "examples": int(row["examples"]),
                **{name: float(row[name]) for name in ("accuracy", "lowest", "highest")},
                "compared": row["compared"] == "True",
            }
            for row in csv.DictReader(file)
        ]


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and the rows of what people read."""
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
    """Return what `gaps` found, a sentence for each attribute."""
    return [
        f"{row['attribute']}: worst {row['worst'] or '(empty)'}, {100 * row['gap']:.2f} points below the best"
        if row["gap"] is not None
        else f"{row['attribute']}: fewer than two groups of {FEWEST} examples or more, nothing to compare"
        for row in found
    ]


def show(rows: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    """Print the groups, and how far apart they are."""
    cli.table(*table(rows))
    for sentence in sentences(found):
        print(sentence)
