"""Images and captions: captions made from class names, or read from a table of image files and texts."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.config import caption_templates, catalogue
from zoo.config.task_facts import USUAL_FIT
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.dataset import Captions, Dataset, DataSpec, Split
from zoo.data.reading import Tally, drawn
from zoo.data.sources import classes, tables
from zoo.data.splits import COLUMN, by_column, hold_out_indices
from zoo.data.stored import keeping
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.files import Files
from zoo.data.taken import Taken
from zoo.data.text import UNKNOWN_ID, Vocabulary, longer

# Limits of the default sequence length, which is the number of tokens of the longest caption.
SHORTEST, LONGEST = 16, 77
# Padding in a row of caption indices.
NONE = -1
# Number of captions that a message lists.
LISTED = 5


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read images with captions: a table of both, or images of classes with captions made from their names.

    Args:
        config: Names the data, how they are split, and the templates of captions.
        taken: Form and vocabulary that they take over.

    Raises:
        UsageError: Data that cannot be read, or captions in another form than the run's.
    """
    if catalogue.is_table(config.data):
        return of_table(config, taken)
    if taken.like is not None and not taken.like.class_names:
        raise UsageError(
            f"{config.data_name}: expected a table of images and captions, as the run was trained on, received classes"
        )
    return of_classes(config, classes.load(config, dataclasses.replace(taken, vocabulary=None)), taken)


def of_classes(config: TrainConfig, data: Dataset, taken: Taken) -> Dataset:
    """Return images of classes with captions made from the names of their classes.

    Args:
        config: Has the templates.
        data: Images and their classes.
        taken: Form and vocabulary that the captions take over.

    Raises:
        UsageError: Data that are no images of classes, or classes whose captions are the same.
    """
    spec = data.spec
    if spec.kind != "image" or spec.per_step:
        what = "one label per time step" if spec.kind == "image" else f"{spec.kind} inputs"
        raise UsageError(f"{spec.name}: expected images to match with captions, received {what}")
    of_class = caption_templates.of_classes(spec.class_names, caption_templates.templates(config.caption_templates))
    texts = [text for group in of_class for text in group]
    groups = caption_templates.places(of_class)
    table = _padded(groups)

    def captioned(split: Split) -> Split:
        return dataclasses.replace(split, y=np.concatenate([split.y[:, None], table[split.y]], axis=1))

    splits = {name: captioned(getattr(data, name)) for name in ("train", "validation", "test")}
    known = Captions(tuple(texts), np.zeros((len(texts), 0), np.int32), groups)
    return _finished(config, spec, splits, known, taken, texts)


def of_table(config: TrainConfig, taken: Taken) -> Dataset:
    """Read a table with the columns image (path of a file, relative to the table's folder) and caption.

    An image may have several rows. Images that share a caption, directly or through other images, have the same target.

    Args:
        config: Names the table.
        taken: Form and vocabulary that the captions take over.

    Raises:
        UsageError: No such table, images that are missing or unreadable, or an empty caption.
    """
    like = taken.like
    tables_of = _read_table(config, config.data, taken.tally)
    if config.validation_data is not None:
        catalogue.check_validation(config, tables_of, COLUMN)
        (tables_of["validation"],) = _read_table(config, config.validation_data, taken.tally, parted=False).values()
    # Captions that differ only in case or white space are the same; the first spelling is kept.
    places: dict[str, int] = {}
    texts: list[str] = []
    for text in (text for table in tables_of.values() for found in table.values() for text in found):
        if places.setdefault(_key(text), len(texts)) == len(texts):
            texts.append(text)
    files = {name: list(table) for name, table in tables_of.items()}
    rows = {
        name: [tuple(dict.fromkeys(places[_key(text)] for text in found)) for found in table.values()]
        for name, table in tables_of.items()
    }
    targets = _targets([row for group in rows.values() for row in group], len(texts))
    width = max(len(row) for group in rows.values() for row in group)
    every = [file for group in files.values() for file in group]
    taken.tally.unit = "pictures"
    size, channels = keeping.common_shape([Files(config.data.parent, every)], taken.tally)
    fit = like.fit if like else config.fit or USUAL_FIT
    shape = like.input_shape if like else (*((config.image_size,) * 2 if config.image_size else size), channels)
    splits = {}
    for name, group in rows.items():
        y = np.array([targets[row[0]] for row in group], np.int32)
        splits[name] = Split(
            Column(Files(config.data.parent, files[name]), Pictures(tuple(shape), fit)),
            np.concatenate([y[:, None], _padded(group, width)], axis=1),
        )
    splits = keeping.kept(config, splits, taken.tally)
    splits = _held_out(config, splits, taken.tally)
    spec = DataSpec(config.data_name, "image", tuple(int(n) for n in shape), (), fit=fit)
    known = Captions(tuple(texts), np.zeros((len(texts), 0), np.int32))
    taught = [texts[i] for i in np.unique(splits["train"].y[:, 1:]) if i != NONE]
    return _finished(config, spec, splits, known, taken, taught)


def _key(text: str) -> str:
    return " ".join(text.lower().split())


def _read_table(config: TrainConfig, path: Path, tally: Tally, parted: bool = True) -> dict[str, dict[Path, list[str]]]:
    """Return the captions of each image file of a table by split, "all" if no column of splits names them.

    Args:
        config: Names the column of captions.
        path: Path of the table.
        tally: Takes what was left out or assumed.
        parted: Whether a column of splits is looked for.
    """
    names, texts, splits = tables.read_columns(
        path, "image", config.text_column or "caption", skip_bad=config.skip_bad, tally=tally, also=COLUMN
    )
    parts = (by_column(splits, tally) if parted else None) or {"all": np.arange(len(names))}
    found: dict[str, dict[Path, list[str]]] = {split: {} for split in parts}
    for split, rows in parts.items():
        for row in rows:
            found[split].setdefault(path.parent / names[row], []).append(texts[row])
    files = {file for table in found.values() for file in table}
    if missing := [str(file) for file in dict.fromkeys(path.parent / name for name in names) if not _is_file(file)]:
        raise UsageError(
            f"{path}: expected paths of image files relative to the table's folder, but {len(missing):,} of"
            f" {len(files):,} files do not exist, the first is {missing[0]}"
        )
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or that no file can have
        return False


def _targets(rows: Sequence[Sequence[int]], count: int) -> list[int]:
    """Return the target of each caption: captions that are connected through images have the same target.

    Args:
        rows: Caption indices of each image.
        count: Number of captions.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for row in rows:
        for other in row[1:]:
            parent[root(other)] = root(row[0])
    return [root(i) for i in range(count)]


def _padded(rows: Sequence[Sequence[int]], width: int | None = None) -> np.ndarray:
    """Return rows of numbers, padded with NONE, (rows, width) int32."""
    found = np.full((len(rows), width or max(map(len, rows))), NONE, np.int32)
    for place, row in zip(found, rows, strict=True):
        place[: len(row)] = row
    return found


def _held_out(config: TrainConfig, splits: dict[str, Split], tally: Tally) -> dict[str, Split]:
    """Return train, validation and test. Splits that are not given are held out, by images."""

    def parted(split: Split, share: float, what: str) -> tuple[Split, Split]:
        rest, held = hold_out_indices(len(split), share, what)
        return split.take(rest), split.take(held)

    if "test" not in splits:
        splits["train"], splits["test"] = parted(splits.pop("all", None) or splits["train"], config.test_split, "test")
        tally.made["test"] = drawn(config.test_split)
    if "validation" not in splits:
        splits["train"], splits["validation"] = parted(splits["train"], config.validation_split, "validation")
        tally.made["validation"] = drawn(config.validation_split)
    return splits


def _finished(
    config: TrainConfig,
    spec: DataSpec,
    splits: dict[str, Split],
    known: Captions,
    taken: Taken,
    taught: Sequence[str],
) -> Dataset:
    """Return the set with its captions as ids. The vocabulary is taken over, or made of the texts `taught`."""
    like, vocabulary = taken.like, taken.vocabulary
    own = vocabulary is None
    if vocabulary is None:
        vocabulary = Vocabulary.train(taught, config.vocabulary_size, catalogue.tokens_of(config))
    rows = vocabulary.rows(known.texts)
    most = max(map(len, rows))
    length = like.target_shape[0] if like else taken.length(config) or min(max(most, SHORTEST), LONGEST)
    if not own and like is None:
        _tell_unknown(spec.name, known.texts, rows, vocabulary)
    if cut := longer(rows, length):
        print(
            f"{spec.name}: {cut:,} of {len(rows):,} captions are longer than {length} tokens and are cut;"
            " use --sequence-length to keep more",
            file=sys.stderr,
        )
    known = dataclasses.replace(known, ids=vocabulary.padded(rows, length))
    _check_told_apart(spec, known)
    if like is not None:
        spec = dataclasses.replace(like, name=spec.name)
    else:
        spec = dataclasses.replace(
            spec,
            task="contrastive",
            target_shape=(length,),
            vocabulary_size=len(vocabulary),
            vocabulary_sha256=vocabulary.sha256,
        )
    return Dataset(spec, **splits, vocabulary=vocabulary, captions=known)


def _tell_unknown(name: str, texts: Sequence[str], rows: Sequence[Sequence[int]], vocabulary: Vocabulary) -> None:
    """Print which captions have words that are not in the vocabulary of an earlier run."""
    unknown = [text for text, row in zip(texts, rows, strict=True) if UNKNOWN_ID in row]
    if unknown:
        shown = ", ".join(map(repr, unknown[:LISTED])) + (", ..." if len(unknown) > LISTED else "")
        print(
            f"{name}: {len(unknown):,} of {len(texts):,} captions have words that are not in the reused vocabulary of"
            f" {len(vocabulary):,} tokens: {shown}",
            file=sys.stderr,
        )


def _check_told_apart(spec: DataSpec, known: Captions) -> None:
    """Raise UsageError if captions of two classes have the same token ids."""
    owner: dict[bytes, int] = {}
    for name, group in enumerate(known.of_class):
        for i in group:
            if owner.setdefault(known.ids[i].tobytes(), name) != name:
                raise UsageError(
                    f"{spec.name}: expected captions that tell classes apart, but {known.texts[i]!r} and a caption of"
                    f" {spec.class_names[owner[known.ids[i].tobytes()]]!r} have the same {known.ids.shape[1]} tokens;"
                    " use a larger --vocabulary-size or --sequence-length"
                )
