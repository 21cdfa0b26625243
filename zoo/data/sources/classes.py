"""Classification: examples of classes from embedded sets, TFDS, folders of images or sounds, arrays and tables."""

import dataclasses

import numpy as np

from zoo.config import catalogue
from zoo.config.task_facts import FIRST_FIT, USUAL_FIT
from zoo.config.train_config import TrainConfig, flag
from zoo.console.errors import UsageError, few
from zoo.data import marks
from zoo.data import text as token_texts
from zoo.data.casts import (
    MOST_CLASSES,
    check_class_names,
    check_labels,
    check_tokens,
    numbered_classes,
    plain_names,
    tell_odd_names,
)
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.reading import Tally
from zoo.data.sensors import standardization
from zoo.data.sound import noise
from zoo.data.sources import labelled
from zoo.data.splits import held_out, set_validation
from zoo.data.splits import kept as kept_splits
from zoo.data.stored import keeping
from zoo.data.tabular import header, rows
from zoo.data.tabular.table import Table
from zoo.data.taken import Taken
from zoo.data.text import Vocabulary, usual_length

# Largest number of classes that are numbers in a table.
MOST_NUMBERED = 100


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read examples and their classes.

    Args:
        config: Names the data and how they are split.
        taken: Form, vocabulary and number of classes that the data take over.

    Raises:
        UsageError: Data that cannot be read, or that do not have the form of the run.
    """
    like, vocabulary, num_classes = taken.like, taken.vocabulary, taken.num_classes
    name, tally = config.data_name, taken.tally
    if config.window is not None and taken.splits is not None:
        raise UsageError("--accept-changed-data: expected examples in files of their own, received windows; start anew")
    if _learns_rows(config, like):
        return _of_rows(config, taken)
    image_shape = like.input_shape if like and like.kind in ("image", "sound") else None
    fit = like.fit if like else config.fit or USUAL_FIT
    if like is not None:
        config = as_trained(config, like)
    if config.validation_data is not None:
        config = dataclasses.replace(config, validation_split=0)
    source = labelled.read(config, config.data, image_shape, like.class_names if like else None, fit, tally)
    if like is None and source.kind != "text":
        vocabulary = None  # the training begins with a run on texts, these are no texts
    splits = dict(source.splits)
    if like is not None and (source.kind == "text") != (like.kind == "tokens" and vocabulary is not None):
        raise UsageError(
            f"{name}: expected {'texts' if vocabulary else like.kind + ' inputs'}, received {source.kind}s"
        )
    class_names = like.class_names if like else source.class_names
    if like is not None and source.class_names is not None:
        splits = _by_name(name, splits, source.class_names, like.class_names, tally)
    if source.unlabelled and class_names is None:
        raise UsageError(f"{name}: expected an array class_names beside examples without labels, received none")
    if class_names is None:
        class_names = numbered_classes(name, [split.y for split in splits.values()], num_classes)
    elif like is None and num_classes is None and not source.unlabelled:
        splits, class_names = _with_examples(splits, class_names, tally)
    check_class_names(name, class_names)
    if num_classes is not None:
        if not 1 <= num_classes <= MOST_CLASSES:
            raise UsageError(f"--set num_classes: expected 1 to {MOST_CLASSES:,}, received {num_classes}")
        if num_classes < len(class_names) and source.class_names:
            raise UsageError(f"--set num_classes: {name} has {len(class_names)} classes, received {num_classes}")
        class_names = (*class_names, *(str(i) for i in range(len(class_names), num_classes)))[:num_classes]
    if config.validation_data is not None:
        if source.kind in ("image", "sound"):
            image_shape = next(iter(splits.values())).x.shape[1:]
            config = dataclasses.replace(config, rate=source.rate or None)
        if source.hop:
            config = dataclasses.replace(config, columns=source.columns, rate=source.rate or config.rate)
        whole = dataclasses.replace(config, test_split=0)
        given = labelled.read(whole, config.validation_data, image_shape, class_names, fit, tally)
        if given.kind != source.kind:
            raise UsageError(f"--validation-data: expected {source.kind} inputs as in --data, received {given.kind}")
        parts = dict(given.splits)
        if given.class_names is not None:
            parts = _by_name(str(config.validation_data), parts, given.class_names, class_names, tally)
        set_validation(splits, parts, config, tally)
    if columns := {s: part for s, part in splits.items() if not part.in_memory and not source.hop}:
        splits |= keeping.kept(config, columns, tally)  # all at once, so that one message names every unreadable file
    _check_shapes(name, splits)
    for split, examples in splits.items():
        check_labels(f"{name}, {split} split" if split != "all" else name, examples.y, class_names)
    if not source.unlabelled:
        _check_classes(name, splits, class_names, num_classes)

    if taken.splits is None:
        splits = held_out(config, splits, class_names, tally)
    else:
        splits = kept_splits(splits, taken.splits, config.validation_split, config.test_split)
        tally.made = dict.fromkeys(splits, "as before the data changed")

    kind, texts = source.kind, {}
    if kind == "text":
        kind = "tokens"
        vocabulary = vocabulary or Vocabulary.train(
            splits["train"].x.tolist(), config.vocabulary_size, catalogue.tokens_of(config)
        )
        length = like.input_shape[0] if like else taken.length(config)
        texts = {} if like else {split: splits[split].x for split in ("train", "test")}
        splits |= encoded(splits, vocabulary, length, tally)
    train = splits["train"]
    tokens = max(int(split.x.max(initial=0)) for split in splits.values()) + 1 if kind == "tokens" else 0
    spec = DataSpec(
        name=name,
        kind=kind,
        input_shape=tuple(int(n) for n in train.x.shape[1:]),
        class_names=class_names,
        per_step=train.y.ndim == 2,
        vocabulary_size=len(vocabulary) if vocabulary else tokens,
        task=catalogue.task_of(config),
        vocabulary_sha256=vocabulary.sha256 if vocabulary else "",
        fit=fit if kind == "image" else FIRST_FIT,
        rate=source.rate,
        columns=source.columns,
        hop=source.hop,
        unlabelled=source.unlabelled,
    )
    if like is None and source.hop:
        mean, std = standardization.of_split(spec, train, tally)
        spec = dataclasses.replace(spec, mean=mean, std=std)
    if like is not None:
        check_like(spec, like)
        if kind == "tokens":
            for split in splits.values():
                check_tokens(name, split.x, like.vocabulary_size)
        spec = dataclasses.replace(like, name=name, unlabelled=source.unlabelled)
    mixed_in = noise.of(config, spec.rate, tally) if kind == "sound" and like is None else None
    parts = (train, splits["validation"], splits["test"])
    return Dataset(spec, *parts, vocabulary, texts=texts, noise=mixed_in)


def as_trained(config: TrainConfig, like: DataSpec) -> TrainConfig:
    """Return a configuration with the options that bring sounds and windows to the form of a run."""
    if not like.hop:
        return dataclasses.replace(config, rate=like.rate or None)
    changes = {"window": like.input_shape[0], "hop": like.hop, "columns": like.columns}
    return dataclasses.replace(config, **changes, rate=like.rate or config.rate)


def check(config: TrainConfig) -> None:
    """Raise UsageError unless the rows of a table have the columns that the options name; the table is not read."""
    by_rows = _learns_rows(config, None)
    for name in ("time_column", "window", "hop"):
        if (value := getattr(config, name)) is not None and (by_rows or config.window is None):
            fits = "a model of sequences, such as conv1d or lstm" if by_rows else "--window, or with --task forecasting"
            raise UsageError(f"{flag(name)} {value}: expected with {fits}, received with --model {config.model}")
    if not by_rows:
        for name in ("target_column", "columns"):
            if getattr(config, name) is not None and config.window is None:
                raise UsageError(
                    f"{flag(name)}: expected with --model tabular, or with --task regression, received with --model"
                    f" {config.model} for classes; --text-column and --label-column name columns of texts"
                )
        ungrouped = config.group_column and config.window is None
        if ungrouped and not (config.data and labelled.listed_in(config, config.data)):
            raise UsageError(
                f"--group-column {config.group_column}: expected with --window, with --model tabular, or with a table"
                " that names pictures or sounds; --group finds groups in the names of files"
            )
        return
    if config.target_column is None and config.label_column is None:
        raise UsageError(
            f"--task classification: expected --target-column, the column with the classes; the columns of"
            f" {config.data.name} are {few(header.columns_of(config.data))}"
        )
    if len(config.target_column or ()) > 1:
        raise UsageError(
            f"--target-column {','.join(config.target_column)}: expected one column of classes, received"
            f" {len(config.target_column)}; --label-columns names several labels"
        )
    header.check_used(config, config.target_column or (config.label_column,), "target_column")
    header.check_groups(config)


def _learns_rows(config: TrainConfig, like: DataSpec | None) -> bool:
    """Return whether the examples are rows of a table, and not texts or pictures that it names."""
    by_rows = like.kind == "table" if like else catalogue.takes_rows(config)
    return by_rows and config.data is not None


def _of_rows(config: TrainConfig, taken: Taken) -> Dataset:
    """Read rows of a table with a class each."""
    like, tally = taken.like, taken.tally
    (target,) = config.target_column or (config.label_column,)
    found = rows.opened(config, taken, [target])
    labels = {
        split: plain_names(table.texts(target).tolist(), "labels", tally) for split, table in found.tables.items()
    }
    names = like.class_names if like else labelled.in_order(set().union(*labels.values()))
    check_class_names(config.data_name, names)
    places = {name: i for i, name in enumerate(names)}
    for split, each in labels.items():
        if strange := sorted(set(each) - set(names)):
            raise UsageError(f"{found.tables[split].path}: class {strange[0]!r} is not one of {few(names)}")
    y = {split: np.array([places[name] for name in each], np.int32) for split, each in labels.items()}
    if like is None:
        tell_odd_names(names, tally)
        _check_rows(config, target, next(iter(found.tables.values())), names)
    inputs, splits = rows.finished(config, taken, found, y, names)
    _check_classes(config.data_name, splits, names, taken.num_classes)
    train = splits["train"]
    spec = DataSpec(config.data_name, "table", train.x.shape[1:], names, task=catalogue.task_of(config), inputs=inputs)
    if like is not None:
        check_like(spec, like)
        spec = dataclasses.replace(like, name=spec.name)
    return Dataset(spec, train, splits["validation"], splits["test"])


def _check_rows(config: TrainConfig, target: str, table: Table, names: tuple[str, ...]) -> None:
    """Raise UsageError for a column of numbers that are no classes."""
    if table.kind(target) == "texts" or len(names) <= MOST_NUMBERED:
        return
    raise UsageError(
        f"--target-column {target}: expected classes, received {table.kind(target)}, {len(names):,} different ones;"
        " --task regression predicts numbers"
    )


def encoded(splits: dict[str, Split], vocabulary: Vocabulary, length: int | None, tally: Tally) -> dict[str, Split]:
    """Return splits of texts with their token ids, and tell how much of the training texts is cut.

    Args:
        splits: Splits with texts as examples.
        vocabulary: Vocabulary of the texts.
        length: Number of ids of a text; None for the usual one.
        tally: Takes the number of texts that are cut.
    """
    length = usual_length(vocabulary, splits["train"].x) if length is None else length
    found = {}
    for split in ("train", "validation", "test"):
        ids, lengths = token_texts.encoded(vocabulary, splits[split].x, length)
        if split == "train" and (cut := int((lengths > length).sum())):
            lost = np.maximum(lengths - length, 0).sum() / lengths.sum()
            what = (
                f"training texts cut to {length} tokens ({lost:.1%} of all tokens lost; --sequence-length keeps more)"
            )
            tally.changed[what] += cut
        found[split] = dataclasses.replace(splits[split], x=ids, marks=marks.of_texts(splits[split].x))
    return found


def _by_name(
    name: str, splits: dict[str, Split], theirs: tuple[str, ...], ours: tuple[str, ...], tally: Tally
) -> dict[str, Split]:
    """Return splits with the class indices of a run in place of those of the data, by the names of the classes."""
    if theirs == ours:
        return splits
    used = np.unique(np.concatenate([split.y.reshape(-1) for split in splits.values()]))
    places = {known: i for i, known in enumerate(ours)}
    named = [theirs[i] for i in used if 0 <= i < len(theirs)]
    if set(named) <= set(places):
        moved = np.full(len(theirs), -1, np.int32)
        moved[[theirs.index(known) for known in named]] = [places[known] for known in named]
        return {split: dataclasses.replace(found, y=moved[found.y]) for split, found in splits.items()}
    if len(theirs) != len(ours):
        strange = next(known for known in named if known not in places)
        raise UsageError(f"{name}: class {strange!r} is not one of {few(ours)}, which the run was trained on")
    tally.notes.append(f"its classes {few(theirs)} are taken for {few(ours)} of the run, in this order")
    return splits


def _with_examples(
    splits: dict[str, Split], class_names: tuple[str, ...], tally: Tally
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Return the splits and the classes that have an example in one of them; the others are told of."""
    labels = np.concatenate([split.y.reshape(-1) for split in splits.values()])
    if labels.max(initial=0) >= len(class_names):  # refused later
        return splits, class_names
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    if counts.all():
        return splits, class_names
    kept = np.flatnonzero(counts)
    empty = [class_names[i] for i in np.flatnonzero(counts == 0)]
    tally.notes.append(
        f"{len(empty)} of {len(class_names)} classes have no example and are left out ({few(empty)}), {len(kept)} are"
        " trained on"
    )
    places = np.full(len(class_names), -1, np.int32)
    places[kept] = np.arange(len(kept))
    splits = {
        split: dataclasses.replace(found, y=np.where(found.y < 0, found.y, places[found.y]).astype(np.int32))
        for split, found in splits.items()
    }
    return splits, tuple(class_names[i] for i in kept)


def _check_shapes(name: str, splits: dict[str, Split]) -> None:
    shapes = {split: examples.x.shape[1:] for split, examples in splits.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{split} {shape}" for split, shape in shapes.items())
        raise UsageError(f"{name}: expected examples of one shape in every split, received {listed}")


def _check_classes(name: str, splits: dict, class_names: tuple[str, ...], num_classes: int | None) -> None:
    if len(class_names) < 2:
        raise UsageError(f"{name}: expected examples of two or more classes, received {len(class_names)}")
    if num_classes is not None:
        return  # classes without examples were asked for
    train = splits.get("train", splits.get("all"))
    counts = np.bincount(train.y.reshape(-1), minlength=len(class_names))
    empty = [class_names[i] for i in np.flatnonzero(counts == 0)]
    others = {s: np.unique(part.y) for s, part in splits.items() if part is not train}
    if empty and (used := [s for s, y in others.items() if class_names.index(empty[0]) in y]):
        raise UsageError(
            f"{name}: expected the classes of train in every split, received {empty[0]!r} in {used[0]}, which train"
            " does not have"
        )
    if empty:
        raise UsageError(
            f"{name}: class {empty[0]!r} is empty: expected training examples of every class from 0 to"
            f" {len(class_names) - 1}; number the classes without gaps, or give --set num_classes={len(class_names)}"
        )


def check_like(spec: DataSpec, like: DataSpec) -> None:
    """Raise UsageError for examples of another form than those that a run was trained on."""
    same_rate = spec.kind != "sound" or spec.rate == like.rate
    if (spec.kind, spec.input_shape) != (like.kind, like.input_shape) or not same_rate:
        raise UsageError(
            f"{spec.name}: expected {like.kind} inputs of shape {like.input_shape} as the run was trained on,"
            f" received {spec.kind} of shape {spec.input_shape}"
        )
