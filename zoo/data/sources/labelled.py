"""Examples with a class each, read from embedded sets, TFDS, folders of images or sounds, arrays and tables."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from zoo.config import catalogue, registry, task_facts
from zoo.config.records import holds_records
from zoo.config.task_facts import Fit
from zoo.config.train_config import EMBEDDED, TrainConfig, flag
from zoo.console.errors import UsageError, few
from zoo.data.casts import plain_names, tell_odd_names
from zoo.data.dataset import Split
from zoo.data.reading import Tally
from zoo.data.sensors import recordings, windows
from zoo.data.sound import formats
from zoo.data.sources import arrays, embedded, folders, records, tables, tfds
from zoo.data.splits import COLUMN, by_column
from zoo.data.stored import grouping, media
from zoo.data.stored.files import Files
from zoo.data.tabular import header, listed, rows, table

# Characters of the longest name of a class; a longer label is a text.
LONGEST_NAME = 200
# A label that is a number, and sorted as one.
_WHOLE = re.compile(r"-?[0-9]{1,18}")


@dataclasses.dataclass(frozen=True)
class Source:
    """Splits that were read, with arrays, columns of pictures or texts as examples.

    Args:
        kind: Kind of the examples: image, vector, sequence, sound, tokens or text.
        splits: Splits by name. A source that names none has one, "all".
        class_names: Names of the classes, None if labels are numbers.
        rate: Samples of sound in a second; of windows if their time tells it.
        columns: Names of the features of windows.
        hop: Number of samples from one window to the next; 0 for other examples.
        unlabelled: Whether there are no labels: all are zeros.
    """

    kind: str
    splits: dict[str, Split]
    class_names: tuple[str, ...] | None
    rate: float = 0
    columns: tuple[str, ...] = ()
    hop: int = 0
    unlabelled: bool = False


def read(
    config: TrainConfig,
    path: Path | None,
    image_shape: tuple | None,
    class_names: tuple[str, ...] | None,
    fit: Fit,
    tally: Tally,
) -> Source:
    """Read one source. If given, `image_shape` is the shape of images and `class_names` are the labels allowed."""
    if config.window is not None:
        return _read_windows(config, path, class_names, tally)
    if path is None and config.dataset in EMBEDDED:
        tally.unit = "pictures"
        x, y, names = embedded.digits(image_shape[0] if image_shape else config.image_size)
        return Source("image", {"all": Split(x, y)}, names)
    if path is None:
        raw = tfds.read(
            config.dataset,
            catalogue.data_dir(config),
            text_column=config.text_column,
            label_column=config.label_column,
            test_split_name=config.test_split_name,
            tally=tally,
        )
        if raw.kind == "image":
            return Source(*records.made(config, raw.splits, image_shape, raw.class_names, fit, tally))
        splits = {name: Split(np.asarray(x, object), y) for name, (x, y) in raw.splits.items()}
        return Source(raw.kind, splits, raw.class_names)
    if holds_records(path):
        return Source(*records.read(config, path, image_shape, class_names, fit, tally))
    if path.is_dir():
        return _read_folder(config, path, image_shape, class_names, fit, tally)
    if path.suffix.lower() == ".npz":
        unlabelled = _takes_unlabelled(config) and arrays.without_labels(path)
        kind, splits, names = arrays.read_npz(path, not unlabelled, tally)
        return Source(kind, arrays.sized(config, kind, splits, fit), names, unlabelled=unlabelled)
    if place := listed_in(config, path):
        return _read_listed(config, path, place, image_shape, class_names, fit, tally)
    return _read_table(config, path, class_names, tally)


def _takes_unlabelled(config: TrainConfig) -> bool:
    """Return whether labels may be missing: nothing is trained, and a file is then compared with its model alone."""
    return config.epochs == 0 and task_facts.of(catalogue.task_of(config)).unlabelled


def listed_in(config: TrainConfig, path: Path) -> tuple[str, str] | None:
    """Return the kind of the files that a table names for a model, and their column; None for other data."""
    inputs = registry.entry(config.model).inputs
    if config.text_column or not header.is_table(path) or not set(inputs) & set(listed.KINDS):
        return None
    try:
        known = header.columns_of(path)
    except UsageError:
        return None  # the reader of texts refuses the table, and names the place
    return None if "tokens" in inputs and "text" in known else listed.column_of(path, known, inputs)


def _read_folder(
    config: TrainConfig,
    path: Path,
    image_shape: tuple | None,
    class_names: tuple[str, ...] | None,
    fit: Fit,
    tally: Tally,
) -> Source:
    medium = folders.medium_of(path)
    _check_medium(config, medium)
    found = folders.listed(path, medium, task_facts.of(catalogue.task_of(config)).one_class)
    names = tuple(class_names or found.classes)
    index = {name: i for i, name in enumerate(names)}
    if strange := sorted({n for files in found.files.values() for _, n in files} - set(names)):
        raise UsageError(f"{path}: class {strange[0]!r} is not one of {', '.join(names)}")
    found.count_into(tally)
    sources = {split: Files(path, [file for file, _ in files]) for split, files in found.files.items()}
    groups = grouping.of_files(config, sources, tally)
    if found.medium is folders.SOUNDS:
        columns, rate = media.sounds_of(config, sources, image_shape, tally)
    else:
        columns, rate = media.pictures_of(config, sources, image_shape, fit, tally), 0
    splits = {
        split: Split(
            columns[split],
            np.array([index[name] for _, name in files], np.int32),
            groups=groups[split],
        )
        for split, files in found.files.items()
    }
    return Source("sound" if rate else "image", splits, names, rate)


def _check_medium(config: TrainConfig, medium: folders.Medium) -> None:
    """Raise UsageError for options of sounds with pictures, and the other way round."""
    sounds = medium is folders.SOUNDS
    if (
        sounds
        and config.rate
        and (config.rate != int(config.rate) or not formats.LOWEST <= config.rate <= formats.HIGHEST)
    ):
        raise UsageError(
            f"--rate {config.rate:g}: expected a whole number of samples of sound in a second, from"
            f" {formats.LOWEST:,} to {formats.HIGHEST:,}"
        )
    for name in ("image_size",) if sounds else ("rate", "seconds", "noise"):
        if (value := getattr(config, name)) is not None:
            expected = "pictures" if sounds else "sounds"
            raise UsageError(f"{flag(name)} {value}: expected with {expected}, received {medium.unit}")


def _read_windows(config: TrainConfig, path: Path, class_names: tuple[str, ...] | None, tally: Tally) -> Source:
    """Read windows of recordings. Those without labels are refused."""
    found = recordings.read_all(config, path, tally)
    names = class_names or windows.classes_of(found, tally)
    if not names:
        raise UsageError(
            f"--label-column: expected the column of the label, or a folder of recordings for each class, received"
            f" {config.data_name} without either"
        )
    hop = config.hop or config.window
    options = {"window": config.window, "hop": hop, "label_of": windows.of_one_label, "tally": tally}
    return Source("sequence", windows.splits(config, found, names, **options), names, found.rate, found.columns, hop)


def _read_listed(
    config: TrainConfig,
    path: Path,
    place: tuple[str, str],
    image_shape: tuple | None,
    class_names: tuple[str, ...] | None,
    fit: Fit,
    tally: Tally,
) -> Source:
    """Read the pictures or sounds that a table names in a column, with the class and the group in other columns."""
    (kind, column), label, group = place, config.label_column or "label", config.group_column
    _check_medium(config, folders.SOUNDS if kind == "sound" else folders.PICTURES)
    wanted = [column, label, *([group] if group else [])]
    splits = [COLUMN] if rows.may_name_splits(config, wanted) and path == config.data else []
    header.check_columns(path, [label], "--label-column")
    header.check_columns(path, [group] if group else [], "--group-column")
    found = rows.complete(
        table.read(path, skip_bad=config.skip_bad, tally=tally, columns=[*wanted, *splits]),
        wanted,
        config.skip_bad,
        tally,
    )
    labels = plain_names(found.texts(label).tolist(), "labels", tally)
    y, names = _numbered(path, labels, class_names, tally)
    tally.unit = listed.KINDS[kind][1]
    sources = {"all": Files(path.parent, listed.files(found, column))}
    groups = found.texts(group).astype(str) if group else grouping.of_files(config, sources, tally)["all"]
    if kind == "sound":
        columns, rate = media.sounds_of(config, sources, image_shape, tally)
    else:
        columns, rate = media.pictures_of(config, sources, image_shape, fit, tally), 0
    whole = Split(columns["all"], y, groups=groups)
    return Source(kind, _by_column(config, whole, found.texts(COLUMN).tolist() if splits else [], tally), names, rate)


def _by_column(config: TrainConfig, whole: Split, values: list[str], tally: Tally) -> dict[str, Split]:
    """Return the examples of a table by split, if the values of its column of splits name them; otherwise as "all"."""
    parts = by_column(values, tally)
    if parts is None:
        return {"all": whole}
    catalogue.check_validation(config, parts, COLUMN)
    return {split: whole.take(indices) for split, indices in parts.items()}


def _read_table(config: TrainConfig, path: Path, class_names: tuple[str, ...] | None, tally: Tally) -> Source:
    tally.unit = "texts"
    columns = (config.text_column or "text", config.label_column or "label")
    text, label, splits = tables.read_columns(
        path, *columns, lists=columns[:1], skip_bad=config.skip_bad, tally=tally, also=COLUMN
    )
    if path != config.data or COLUMN in ",".join(columns).split(","):
        splits = []
    if all(map(header.NUMBER.fullmatch, text)):
        raise UsageError(
            f"{path}, column {columns[0]!r}: expected texts, received numbers such as {text[0]}; --model tabular"
            " --target-column NAME learns from columns of numbers"
        )
    label = plain_names(label, "labels", tally)
    long = next((i for i, name in enumerate(label) if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise UsageError(
            f"{path}, record {long + 1:,}: expected the name of a class of at most {LONGEST_NAME} characters, received"
            f" {len(label[long]):,}; --label-column names another column"
        )
    y, names = _numbered(path, label, class_names, tally)
    return Source("text", _by_column(config, Split(np.asarray(text, object), y), splits, tally), names)


def _numbered(
    path: Path, labels: list[str], class_names: tuple[str, ...] | None, tally: Tally
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the class index of each label of a table, and the names of the classes."""
    names = class_names
    if names is None:
        names = in_order(set(labels))
        tell_odd_names(names, tally)
    index = {name: i for i, name in enumerate(names)}
    if strange := sorted(set(labels) - set(names)):
        raise UsageError(f"{path}: class {strange[0]!r} is not one of {few(names)}")
    return np.array([index[name] for name in labels], np.int32), names


def in_order(names: set[str]) -> tuple[str, ...]:
    """Return names of classes in order, numbers by their size."""
    return tuple(sorted(names, key=int if all(map(_WHOLE.fullmatch, names)) else str))
