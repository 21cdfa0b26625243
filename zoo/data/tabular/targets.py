"""Examples with numbers or with several labels: rows of a table, pictures or texts that a table names, and arrays."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config import catalogue, registry
from zoo.config.task_facts import ARRAYS, FIRST_FIT, USUAL_FIT
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data.casts import as_float32, check_apart
from zoo.data.dataset import Dataset, DataSpec, Kind, Split
from zoo.data.reading import Tally
from zoo.data.sources import arrays, classes
from zoo.data.splits import COLUMN, held_out, set_validation
from zoo.data.stored import keeping, media
from zoo.data.stored.files import Files
from zoo.data.tabular import header, listed, rows
from zoo.data.tabular.encoding import Input
from zoo.data.tabular.table import Table, read
from zoo.data.taken import Taken
from zoo.data.text import Vocabulary

TEXT = "text"  # column of texts


@dataclasses.dataclass(frozen=True)
class Found:
    """Examples that were read and split.

    Args:
        kind: Kind of the examples.
        splits: Splits train, validation and test. y is float32, (examples, targets).
        names: Names of the targets.
        inputs: What the inputs are, if examples are rows of a table.
        vocabulary: Vocabulary of texts.
        fit: How pictures are brought to the shape of the input.
        rate: Samples of sound in a second.
    """

    kind: Kind
    splits: dict[str, Split]
    names: tuple[str, ...]
    inputs: tuple[Input, ...] = ()
    vocabulary: Vocabulary | None = None
    fit: str = FIRST_FIT
    rate: int = 0

    def data(self, taken: Taken, **more: Any) -> Dataset:
        """Return the data set.

        Args:
            taken: Form that it is brought to.
            **more: Name and further fields of the specification.

        Raises:
            UsageError: Examples of another form than that of the run.
        """
        x = self.splits["train"].x
        tokens = max(int(s.x.max(initial=0)) for s in self.splits.values()) + 1 if self.kind == "tokens" else 0
        spec = DataSpec(
            kind=self.kind,
            input_shape=tuple(int(n) for n in x.shape[1:]),
            vocabulary_size=len(self.vocabulary) if self.vocabulary else tokens,
            vocabulary_sha256=self.vocabulary.sha256 if self.vocabulary else "",
            fit=self.fit,
            inputs=self.inputs,
            rate=self.rate,
            **more,
        )
        like = taken.like
        if like is not None:
            classes.check_like(spec, like)
            spec = dataclasses.replace(like, name=spec.name)
        splits = {name: self.splits[name] for name in ("train", "validation", "test")}
        return Dataset(spec, **splits, vocabulary=self.vocabulary)


# From a table and the names of its targets to (rows, targets) float32.
Values = Callable[[Table, Sequence[str], Tally], np.ndarray]


def examples(config: TrainConfig, taken: Taken, names: Sequence[str], values: Values) -> Found:
    """Read examples with their targets.

    Args:
        config: Names the data and the model, whose kind of input decides what is read of a table.
        taken: Form and vocabulary that they take over.
        names: Columns with the targets; none for arrays.
        values: Function from a table to the values of its targets.

    Raises:
        UsageError: Data that cannot be read, or that the model does not take.
    """
    kinds = (taken.like.kind,) if taken.like else registry.entry(config.model).inputs
    if config.data.suffix.lower() == ARRAYS:
        return _of_arrays(config, taken)
    known = header.columns_of(config.data)
    if "table" in kinds:
        return _of_rows(config, taken, names, values)
    if named := listed.column_of(config.data, known, kinds):
        return _of_files(config, taken, *named, names, values)
    text = config.text_column or TEXT
    if "tokens" in kinds and set(text.split(",")) <= set(known):
        return _of_texts(config, taken, text, names, values)
    wanted = [*listed.expected(kinds), *([f"{text} with texts"] if "tokens" in kinds else [])]
    cure = f"--model tabular learns from the columns {few(known)} themselves"
    raise UsageError(
        f"--model {config.model} with {config.data}: expected a table with a column"
        f" {' or '.join(wanted) or 'that it takes'}, received {few(known)}; {cure}"
    )


def _of_rows(config: TrainConfig, taken: Taken, names: Sequence[str], values: Values) -> Found:
    found = rows.opened(config, taken, names)
    y = {split: values(table, names, taken.tally) for split, table in found.tables.items()}
    inputs, splits = rows.finished(config, taken, found, y)
    return Found("table", splits, tuple(names), inputs)


def _tables(config: TrainConfig, columns: Sequence[str], targets: Sequence[str], tally: Tally) -> dict[str, Table]:
    """Return the table of the data and that of --validation-data, with these columns and that of groups."""
    needed = list(dict.fromkeys([*columns, *targets, *rows.column_of_groups(config)]))
    splits = [COLUMN] if rows.may_name_splits(config, needed) else []
    rows.tell_tables(config.data, tally)
    if config.validation_data is not None:
        tally.made["validation"] = "--validation-data"
    found = {}
    for split, path in header.tables_of(config).items():
        table = read(
            path, skip_bad=config.skip_bad, tally=tally, columns=[*needed, *(splits if split == "all" else ())]
        )
        found[split] = rows.complete(table, needed, config.skip_bad, tally)
    return rows.with_splits(config, found, tally) if splits else found


def _of_files(config: TrainConfig, taken: Taken, kind: str, column: str, names: Sequence[str], values: Values) -> Found:
    """Read the pictures or the sounds whose files a table names in a column, relative to its folder."""
    tally, like = taken.tally, taken.like
    tables = _tables(config, [column], names, tally)
    sources = {split: Files(table.path.parent, listed.files(table, column)) for split, table in tables.items()}
    tally.unit, shape = listed.KINDS[kind][1], like.input_shape if like else None
    if like is not None:
        config = classes.as_trained(config, like)
    rate, fit = 0, FIRST_FIT
    if kind == "sound":
        columns, rate = media.sounds_of(config, sources, shape, tally)
    else:
        fit = like.fit if like else config.fit or USUAL_FIT
        columns = media.pictures_of(config, sources, shape, fit, tally)
    groups = rows.groups_of(config, tables, tally)
    splits = {
        split: Split(found, values(tables[split], names, tally), groups=groups[split])
        for split, found in columns.items()
    }
    splits = held_out(config, keeping.kept(config, splits, tally), (), tally)
    return Found("sound" if rate else "image", splits, tuple(names), fit=fit, rate=rate)


def _of_texts(config: TrainConfig, taken: Taken, text: str, names: Sequence[str], values: Values) -> Found:
    tally = taken.tally
    tables = _tables(config, text.split(","), names, tally)
    tally.unit = "texts"
    splits, groups = {}, rows.groups_of(config, tables, tally)
    for split, table in tables.items():
        joined = [" ".join(parts) for parts in zip(*(table.texts(name) for name in text.split(",")), strict=True)]
        splits[split] = Split(np.array(joined, object), values(table, names, tally), groups=groups[split])
    splits = held_out(config, splits, (), tally)
    vocabulary = taken.vocabulary or Vocabulary.train(
        splits["train"].x.tolist(), config.vocabulary_size, catalogue.tokens_of(config)
    )
    length = taken.like.input_shape[0] if taken.like else taken.length(config)
    return Found("tokens", classes.encoded(splits, vocabulary, length, tally), tuple(names), vocabulary=vocabulary)


def _of_arrays(config: TrainConfig, taken: Taken) -> Found:
    tally, path = taken.tally, config.data
    kind, splits = _read_arrays(path, tally)
    if config.validation_data is not None:
        other, given = _read_arrays(config.validation_data, tally)
        if other != kind:
            raise UsageError(f"--validation-data: expected {kind} inputs as in --data, received {other}")
        set_validation(splits, given, config, tally)
    splits = arrays.sized(config, kind, splits, config.fit or USUAL_FIT)
    if kind == "image":
        tally.unit = "pictures"
    width = {split: examples.y.shape[1] for split, examples in splits.items()}
    if len(set(width.values())) > 1:
        raise UsageError(f"{path}: expected the same number of targets in every split, received {width}")
    count = next(iter(width.values()))
    names = ("y",) if count == 1 else tuple(f"y{number}" for number in range(count))
    return Found(kind, held_out(config, splits, (), tally), names)


def _read_arrays(path: Path, tally: Tally) -> tuple[Kind, dict[str, Split]]:
    """Return kind and splits of an .npz file whose labels are numbers (examples,) or (examples, targets)."""
    kind, parts, _ = arrays.read_parts(path, tally)
    splits = {}
    for split, part in parts.items():
        x, y = part.x, part.y
        if y.ndim not in (1, 2) or len(x) != len(y) or not y[:1].size:
            raise UsageError(
                f"{path}: {part.y_name}: expected numbers (examples,) or (examples, targets) for {len(x):,} examples,"
                f" received the shape {y.shape}"
            )
        numbers = as_float32(f"{path}: {part.y_name}", y)
        check_apart(f"{path}: {part.y_name}", y)
        splits[split] = Split(x, numbers.reshape(len(y), -1))
    return kind, splits
