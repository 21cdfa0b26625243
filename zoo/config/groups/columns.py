"""Columns of tables, and what they mean."""

from dataclasses import dataclass

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("columns")
class ColumnOptions:
    """Columns of tables, and what they mean."""

    columns: tuple[str, ...] | None = option(
        "columns of a table to learn from: names or patterns such as 'size,room_*'; those after ! are left out"
        " (default: all that are not predicted)",
        metavar="NAME[,...]",
    )
    target_column: tuple[str, ...] | None = option(
        "column of a table to predict, or several with --task regression", metavar="NAME[,...]"
    )
    label_columns: tuple[str, ...] | None = option(
        "columns with 0 and 1, or true and false, of several labels: names or patterns such as 'label_*'",
        metavar="NAME[,...]",
    )
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
