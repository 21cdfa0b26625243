"""Rows of a table as examples: what is asked of them, how they are split, and their inputs as numbers."""

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config import catalogue
from zoo.config.task_facts import ending_of_table
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few, nearest
from zoo.console.figures import size
from zoo.data.dataset import Split
from zoo.data.reading import Tally
from zoo.data.splits import COLUMN, by_column, held_out
from zoo.data.splits import kept as kept_splits
from zoo.data.stored import grouping, keeping
from zoo.data.stored.column import Column
from zoo.data.tabular import encoding, header, kinds, lines, pieces, stored
from zoo.data.tabular.encoding import Input
from zoo.data.tabular.kinds import Form
from zoo.data.tabular.stored import StoredTable
from zoo.data.tabular.table import Table, read
from zoo.data.taken import Taken
from zoo.system.files import is_hidden

# Name that pandas gives the index of a frame in a Parquet file.
INDEX = re.compile(r"__index_level_\d+__")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Tables that were read, with the columns to learn from.

    Args:
        tables: Table of each split that has one of its own, or "all".
        names: Columns to learn from.
        groups: Group of each row of each table, (rows,) of texts; None without groups.
    """

    tables: Mapping[str, Table]
    names: list[str]
    groups: Mapping[str, np.ndarray | None]


def chosen(path: Path, patterns: Sequence[str] | None, others: Sequence[str]) -> list[str]:
    """Return the columns of a table to learn from, in the order of the table.

    Args:
        path: Path of the table.
        patterns: Names or patterns of columns; those after ! are left out. None for all.
        others: Columns that are asked for, or have another use.

    Raises:
        UsageError: A pattern that chooses no column, a column that is asked for, or no column at all.
    """
    known = [name for name in header.columns_of(path) if name and not INDEX.fullmatch(name)]
    wanted = [pattern for pattern in patterns or () if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns or () if pattern.startswith("!")]
    found = header.matching(path, wanted, "--columns") if wanted else [name for name in known if name not in others]
    if both := [name for name in found if name in others]:
        raise UsageError(
            f"--columns: expected columns to learn from, received {both[0]!r}, which is to be predicted or tells groups"
            " apart"
        )
    out = header.matching(path, unwanted, "--columns") if unwanted else []
    found = [name for name in found if name not in out]
    if not found:
        raise UsageError(f"--columns: expected columns of {path.name} to learn from, received none")
    return found


def opened(config: TrainConfig, taken: Taken, targets: Sequence[str]) -> Rows:
    """Read the tables of a training.

    Args:
        config: Names the tables and the columns.
        taken: Form that the rows are brought to.
        targets: Columns that are to be predicted; rows without a value in one of them are refused, or left out with
            --skip-bad.

    Raises:
        UsageError: Tables that cannot be read, or that lack a column.
    """
    like, tally = taken.like, taken.tally
    needed = [*targets, *column_of_groups(config)]
    if like is None:
        names = chosen(config.data, config.columns, needed)
        _tell_unread(config.data, names, tally)
    else:
        names = _as_trained(config, [each["name"] for each in like.inputs], needed)
    tell_tables(config.data, tally)
    splits = [COLUMN] if may_name_splits(config, needed) else []
    tables, paths = {}, header.tables_of(config)
    columns = list(dict.fromkeys([*names, *needed]))
    most = keeping.budget(config)
    whole = pieces.fits(paths.values(), len(columns), most)
    if not whole:
        why = "--shard files" if config.shard == "files" else f"a whole table takes more than {size(most)} of memory"
        tally.kept = f"read for each batch ({why})"
    forms = {} if like is None else encoding.forms_of(like.inputs) | _forms_of_classes(targets, like.class_names)
    for split, path in paths.items():
        wanted = list(dict.fromkeys([*columns, *splits])) if split == "all" else columns
        if whole:
            table = read(path, skip_bad=config.skip_bad, tally=tally, columns=wanted, like=forms)
        else:
            table = stored.read(path, wanted, config.skip_bad, tally, forms)
        forms = forms or {name: table.form(name) for name in table.names}
        tables[split] = complete(table, needed, config.skip_bad, tally)
        if split == "all" and splits:
            tables = with_splits(config, tables, tally)
            if "all" not in tables:
                names, columns = ([name for name in each if name != COLUMN] for each in (names, columns))
    return Rows(tables, names, groups_of(config, tables, tally))


def _as_trained(config: TrainConfig, inputs: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Return the columns that a run was trained on, by which it recognises its rows, or its inputs in another table.

    A row is recognised by all columns that the training chose, also those that gave no input.
    """
    inputs = list(dict.fromkeys(inputs))
    try:
        names = chosen(config.data, config.columns, needed)
    except UsageError:  # a table that lacks some of them
        return inputs
    return names if set(inputs) <= set(names) else inputs


def may_name_splits(config: TrainConfig, needed: Sequence[str]) -> bool:
    """Return whether a table may name the split of its rows: in a column that no option names."""
    named = {pattern.removeprefix("!") for pattern in config.columns or ()}
    return COLUMN not in {*named, *needed} and not config.data.is_dir() and COLUMN in header.columns_of(config.data)


def with_splits(config: TrainConfig, tables: Mapping[str, Table], tally: Tally) -> dict[str, Table]:
    """Return tables with the rows of "all" by split, if its column of splits names them.

    Args:
        config: Names the data.
        tables: "all", with that column, and the table of --validation-data.
        tally: Takes a note that these splits are taken.

    Raises:
        UsageError: Validation rows beside --validation-data.
    """
    whole = tables["all"]
    found = by_column(whole.texts(COLUMN).tolist(), tally)
    if found is None:
        return dict(tables)
    catalogue.check_validation(config, found, COLUMN)
    columns = {name: values for name, values in whole.columns.items() if name != COLUMN}
    rest = dataclasses.replace(whole, columns=columns)
    return {split: rest.take(indices) for split, indices in found.items()} | {
        split: table for split, table in tables.items() if split != "all"
    }


def tell_tables(path: Path, tally: Tally) -> None:
    """Note the tables of a folder that are none of its splits."""
    if path.is_dir():
        splits = header.in_folder(path).values()
        tables = [each for each in sorted(path.iterdir()) if header.is_table(each) and not is_hidden(each.name)]
        others = [each.name for each in tables if each not in splits]
        if others:
            tally.notes.append(
                f"{few(others)} of {path.name} are no splits and are not read; name them test or validation"
            )


def _tell_unread(path: Path, names: Sequence[str], tally: Tally) -> None:
    """Note the columns that are left out because they have no name, or are the index of a data frame."""
    known = header.columns_of(path)
    lines.tell_unnamed(path, known, tally)
    if index := [name for name in known if INDEX.fullmatch(name) and name not in names]:
        tally.notes.append(f"column {index[0]!r} is the index of a pandas frame and is not read; --columns names it")


def _forms_of_classes(targets: Sequence[str], class_names: Sequence[str]) -> dict[str, Form]:
    """Return that a column of classes is of texts, if the names of the classes are."""
    evidence = kinds.Evidence(commas=False)
    evidence.add(class_names)
    names = len(targets) == 1 and evidence.verdict()[0] in ("texts", "mostly")
    return {targets[0]: "texts"} if names and class_names else {}


def column_of_groups(config: TrainConfig) -> list[str]:
    """Return the column that tells groups apart, none without one."""
    return [config.group_column] if config.group_column else []


def groups_of(config: TrainConfig, tables: Mapping[str, Table], tally: Tally) -> dict[str, np.ndarray | None]:
    """Return the group of each row by split: its value in the column of groups.

    Args:
        config: Names the column; without one, rows have no groups.
        tables: Table of each split, with that column.
        tally: Takes a note about groups that are in several of the given splits.
    """
    if not config.group_column:
        return dict.fromkeys(tables)
    found = {split: table.texts(config.group_column).astype(str) for split, table in tables.items()}
    grouping.tell_shared(found, tally)
    return found


def complete(table: Table, targets: Sequence[str], skip_bad: bool, tally: Tally) -> Table:
    """Return the rows with a value in each of some columns.

    Raises:
        UsageError: A row without one, unless such rows are left out; or no row with all of them.
    """
    for name in targets:
        missing = table.missing(name)
        if missing.any() and not skip_bad:
            raise UsageError(
                f"{table.path}, line {table.lines[missing.argmax()]}: expected a value in column {name!r}, received"
                f" none, as in {int(missing.sum()):,} rows; --skip-bad leaves them out"
            )
        if missing.any():
            tally.left_out[f"without a value of {name!r}"] += int(missing.sum())
            table = table.take(~missing)
    if not len(table):
        raise UsageError(f"{table.path}: expected rows with values in {few(list(targets))}, received none")
    return table


def finished(
    config: TrainConfig, taken: Taken, rows: Rows, labels: Mapping[str, np.ndarray], class_names: tuple[str, ...] = ()
) -> tuple[tuple[Input, ...], dict[str, Split]]:
    """Split the rows, and encode their inputs.

    Args:
        config: Says how rows are split.
        taken: Form that the rows are brought to.
        rows: Tables.
        labels: Labels (rows, ...) of each table.
        class_names: Names of the classes, if a row has one.

    Returns:
        What the inputs are, and the splits train, validation and test.

    Raises:
        UsageError: Rows that cannot be split, or columns with one value each.
    """
    like, tally = taken.like, taken.tally
    begun = {
        split: Split(np.arange(len(table)), labels[split], _marks_of(table, rows.names), groups=rows.groups[split])
        for split, table in rows.tables.items()
    }
    if taken.splits is None:
        splits = held_out(config, begun, class_names, tally)
    else:
        splits = kept_splits(begun, taken.splits, config.validation_split, config.test_split)
        tally.made = dict.fromkeys(splits, "as before the data changed")
    if config.validation_data is not None:
        tally.made["validation"] = "--validation-data"
    common = next(iter(rows.tables.values()))
    parts = {split: rows.tables.get(split, common).take(examples.x) for split, examples in splits.items()}
    tally.unit, tally.columns = "rows", common.told()
    inputs = like.inputs if like else encoding.inputs_of(parts["train"], rows.names, tally, common)
    if not inputs:
        raise UsageError(
            f"{config.data}: expected columns with two or more values to learn from, received none:"
            f" {'; '.join(tally.notes)}"
        )
    for split, examples in splits.items():
        if split != "train" or like is not None:  # what training rows have is no news
            encoding.tell_strange(parts[split], inputs, tally)
        splits[split] = dataclasses.replace(examples, x=_encoded(parts[split], inputs))
    return inputs, splits


def _marks_of(table: Table, names: Sequence[str]) -> np.ndarray:
    return (stored if isinstance(table, StoredTable) else encoding).marks_of(table, names)


def _encoded(table: Table, inputs: Sequence[Input]) -> np.ndarray | Column:
    return (stored if isinstance(table, StoredTable) else encoding).encoded(table, inputs)


def check_given(words: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError unless words are tables with the columns of a run, or NAME=VALUE for its columns.

    Args:
        words: Inputs on the command line.
        inputs: What the inputs of the run are, see `zoo.data.tabular.encoding`.
    """
    names = list(dict.fromkeys(each["name"] for each in inputs))
    tables, pairs = _told_apart(words)
    for path in tables:
        if not path.is_file():
            form = "a table" if ending_of_table(path) else "a table, or NAME=VALUE for each column of one row"
            raise UsageError(f"INPUT {path}: expected {form}, found {'a folder' if path.is_dir() else 'no such file'}")
        header.check_columns(path, names)
    for name, _ in pairs:
        if name not in names:
            raise UsageError(f"INPUT {name}=: expected one of the columns {few(names)}{nearest(name, names)}")
    if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise UsageError(f"INPUT {twice[0]}=: expected each column of the row once, received it more than once")


def _told_apart(words: Sequence[str]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the paths of tables, and the names and values of one row."""
    pairs = [word for word in words if "=" in word and not Path(word).is_file()]
    return [Path(word) for word in words if word not in pairs], [
        (w.partition("=")[0], w.partition("=")[2]) for w in pairs
    ]


def given(words: Sequence[str], inputs: Sequence[Input]) -> tuple[list[str], np.ndarray]:
    """Return the rows of tables, and the row that words NAME=VALUE describe, as a model takes them.

    Args:
        words: Inputs on the command line.
        inputs: What the inputs of the run are.

    Returns:
        Name of each row, and the rows, (rows, inputs) float32.

    Raises:
        UsageError: A table that cannot be read, or a value of another type than the column has.
    """
    check_given(words, inputs)
    names, parts, tally = [], [], Tally()
    tables, pairs = _told_apart(words)
    wanted = list(dict.fromkeys(each["name"] for each in inputs))
    for path in tables:
        table = read(path, columns=wanted, tally=tally, like=encoding.forms_of(inputs))
        names += [f"{path}[{i}]" for i in range(len(table))]
        parts.append(_told(table, inputs, tally))
    if pairs:
        names.append(" ".join(f"{name}={value}" for name, value in pairs))
        parts.append(_told(_row(dict(pairs), inputs, tally), inputs, tally))
    told = [*tally.notes, *(f"{count:,} {what}" for what, count in tally.changed.items())]
    if told:
        print(f"INPUT: {'; '.join(told)}", file=sys.stderr)
    return names, np.concatenate(parts)


def _told(table: Table, inputs: Sequence[Input], tally: Tally) -> np.ndarray:
    encoding.tell_strange(table, inputs, tally)
    return encoding.encoded(table, inputs)


def _row(values: Mapping[str, str], inputs: Sequence[Input], tally: Tally) -> Table:
    """Return a table of one row."""
    columns: dict[str, np.ndarray] = {}
    forms = encoding.forms_of(inputs)
    for each in inputs:
        name, text = each["name"], values.get(each["name"], "").strip()
        if each["form"] in ("word", "category"):
            columns[name] = np.array([text], object)
            continue
        evidence = kinds.Evidence(commas=False)
        evidence.add([text])
        form = evidence.verdict(forms[name])[0]
        wanted = "times" if each["form"] == "date" else "numbers"
        if text.lower() in kinds.MISSING:
            columns[name] = np.full(1, np.nan) if wanted == "numbers" else np.full(1, "NaT", "datetime64[us]")
        elif kinds.KINDS[form] != wanted:
            raise UsageError(f"INPUT {name}={text}: expected {'a date' if wanted == 'times' else 'a number'}")
        else:
            columns[name] = kinds.values_of([text], form)[0]
    if absent := [name for name in columns if name not in values]:
        tally.notes.append(f"{few(absent)} not given, taken for missing")
    return Table(Path("INPUT"), columns, np.ones(1, np.int64))
