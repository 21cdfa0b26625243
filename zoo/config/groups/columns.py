"""Columns of tables, and what they mean."""

from dataclasses import dataclass

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("columns")
class ColumnOptions:
    """Columns of tables, and what they mean."""

    text_column: str | None = option(
        "column with the text; several columns, separated by commas, are joined by a space (default: text; beside"
        " images: caption)"
    )
    label_column: str | None = option("column with the label (default: label)")
    source: str | None = option(
        "language or column to translate from (default: the set's first language, or the column source)"
    )
    target: str | None = option(
        "language or column to translate into (default: the set's second language, or the column target)"
    )
    columns: tuple[str, ...] | None = option(
        "columns of numbers that are used, such as those of the sensors (default: all but those of other options)",
        metavar="NAME[,...]",
    )
    time_column: str | None = option(
        "column with the time of a row (default: the only column of dates; without one, rows are evenly spaced)"
    )
    group_column: str | None = option("column of groups that stay in one split, such as the subject or the day")
