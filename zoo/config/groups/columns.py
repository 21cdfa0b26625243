"""Columns of tables, and what they mean."""

from dataclasses import dataclass

from zoo.config.options import option, under


@dataclass(frozen=True, kw_only=True)
@under("columns")
class ColumnOptions:
    """Columns of tables, and what they mean."""

    columns: tuple[str, ...] | None = option(
        "columns of a table to learn from, columns to forecast, or columns of sensors: names or patterns such as"
        " 'size,room_*'; for rows, those after ! are left out (default: all that no other option names)",
        metavar="NAME[,...]",
    )
    target_column: tuple[str, ...] | None = option(
        "column of a table to predict, or several with --task regression", metavar="NAME[,...]"
    )
    label_columns: tuple[str, ...] | None = option(
        "columns with 0 and 1, or true and false, of several labels: names or patterns such as 'label_*'",
        metavar="NAME[,...]",
    )
    class_order: tuple[str, ...] | None = option(
        "classes from the lowest to the highest, for --task ordinal (default: numbers by their size)",
        metavar="NAME,NAME[,...]",
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
    known_columns: tuple[str, ...] | None = option(
        "columns whose future is known when a forecast is made, such as a planned price (default: none)",
        metavar="NAME[,...]",
    )
    time_column: str | None = option(
        "column with the time of a row (default: the only column of dates; without one, rows are in order and evenly"
        " spaced)"
    )
    group_column: str | None = option(
        "column that tells several series apart, such as the subject or the machine; with --window, with --model"
        " tabular, or with a table that names pictures or sounds, groups stay in one split (default: one series)"
    )
    user_column: str | None = option("column with the user (default: the only one named user, user_id or customer)")
    item_column: str | None = option("column with the item (default: the only one named item, item_id or product)")
    rating_column: str | None = option("column with the user's rating of the item (default: all events count alike)")
    liked: float | None = option("lowest rating that counts as liking an item (default: the mean rating)")
    horizon: int | None = option(
        "number of steps to forecast (default: a season, such as 24 hours or 7 days)", within=(1, 100_000)
    )
    lookback: int | None = option(
        "number of past steps that a forecast is made from (default: three times the horizon, or two seasons)",
        within=(1, 1_000_000),
    )
    season: int | None = option(
        "number of steps in a season, for the naive forecast (default: a day if steps are shorter than a day, a"
        " week of days, a year of weeks or months)",
        within=(1, 1_000_000),
    )
    quantiles: tuple[float, ...] | None = option(
        "quantiles to predict, such as 0.1,0.5,0.9: besides the mean in regression, instead of it in forecasting",
        metavar="Q[,...]",
    )
    split_rows: tuple[int, ...] | None = option(
        "number of time steps for training, validation and test, from the first one, such as 8640,2880,2880 (default:"
        " the last steps, in the shares of --validation-split and --test-split)",
        metavar="TRAIN,VALIDATION,TEST",
    )
