"""TFDS sets by name: prepared sets are read from disk, others are downloaded if there is a network."""

import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config.catalogue import TRIPLES, find_prepared
from zoo.console.errors import UsageError, nearest
from zoo.data.casts import as_int32
from zoo.data.reading import Tally
from zoo.data.sources import records
from zoo.data.stored import shards
from zoo.data.stored.shards import Indexed

# Timeout of the check whether a source is reachable, in seconds; enough for the first response of a slow network.
REACH_SECONDS = 10
# Formats of files whose examples can be read one by one, by the name that TFDS gives them.
_FORMATS = {"tfrecord": "TFRecord", "array_record": "ArrayRecord"}
# Examples that are read at once.
BATCH = 1024


@dataclass(frozen=True)
class RawSplits:
    """A TFDS set as read.

    Args:
        kind: "image" or "text".
        splits: By split, texts and class indices, or for images where they lie in the set's files.
        class_names: Class names in the order of the class indices.
    """

    kind: str
    splits: dict[str, tuple[list[str], np.ndarray]] | dict[str, Indexed]
    class_names: tuple[str, ...]


def read(
    name: str,
    data_dir: Path,
    *,
    text_column: str | None,
    label_column: str | None,
    test_split_name: str | None,
    tally: Tally,
) -> RawSplits:
    """Read every labelled split of a TFDS image or text classification set.

    Args:
        name: `name` or `name/config`, optionally followed by `:version`.
        data_dir: Folder in which the set is prepared, or will be.
        text_column: Text feature, or several separated by commas, whose texts are joined by a space; None for the
            supervised or the first one.
        label_column: Label feature; None for the supervised or the first one.
        test_split_name: Split to test on; None for test, or the first split whose name begins with test.
        tally: Takes what is counted.

    Raises:
        UsageError: If the name is unknown, if the set is not prepared and cannot be downloaded, or if there are no such
            features or split.
    """
    folder = prepare(name, data_dir)
    import tensorflow_datasets as tfds

    builder = _builder(folder)
    features = builder.info.features
    inputs, label = _features(name, builder, text_column, label_column)
    class_names = tuple(features[label].names)
    if isinstance(features[inputs[0]], tfds.features.Text):
        tally.unit = "texts"
        return RawSplits("text", _usual_names(_read_labelled(builder, inputs, label), test_split_name), class_names)
    return RawSplits("image", _usual_names(_indexed(builder, inputs[0], label), test_split_name), class_names)


def _indexed(builder: Any, key: str, label: str) -> dict[str, Indexed]:
    """Return where the images of each labelled split lie.

    Raises:
        UsageError: Files in another format, that are damaged, or that have another number of examples than the set's
            description says.
    """
    folder, name = Path(builder.data_path), _FORMATS.get(builder.info.file_format.value)
    if name is None:
        raise UsageError(
            f"{folder}: expected files in the format {' or '.join(_FORMATS)}, received"
            f" {builder.info.file_format.value}: prepare the set again with TFDS"
        )
    found = {}
    for split, info in builder.info.splits.items():
        if not info.num_examples:
            continue
        part = shards.indexed(name, [str(file) for file in info.filepaths], records.schema_of(key, label))
        if len(part.labels) != info.num_examples:
            raise UsageError(
                f"{folder}: {split}: expected {info.num_examples:,} examples, as its description says, received"
                f" {len(part.labels):,}; the set is damaged: prepare it again with TFDS"
            )
        if records.labelled(part):
            found[split] = part
    return found


def read_pairs(
    name: str,
    data_dir: Path,
    *,
    source: str | None,
    target: str | None,
    test_split_name: str | None,
    tally: Tally,
) -> dict[str, list[list[str]]]:
    """Read the training, validation and test pairs of a TFDS set.

    Args:
        name: Name of the set; see `read`.
        data_dir: Folder of the set; see `read`.
        source: Feature of the source texts; None for the one of the supervised, or the first two, text features that is
            not `target`.
        target: Feature of the target texts; None for the one that is not `source`.
        test_split_name: Split to test on; see `read`.
        tally: Takes the number of pairs that are left out.

    Returns:
        {split: [source texts, target texts]}, without pairs that have an empty text.

    Raises:
        UsageError: If the name is unknown, if the set is not prepared and cannot be downloaded, or if there are no such
            features or split.
    """
    builder = _builder(prepare(name, data_dir))
    keys = _pair(name, builder, source, target)
    pairs = {}
    for usual, split in _usual_names({split: split for split in builder.info.splits}, test_split_name).items():
        columns = _read_texts(builder, split, keys)
        whole = [pair for pair in zip(*columns, strict=True) if pair[0].strip() and pair[1].strip()]
        tally.left_out["with an empty text"] += len(columns[0]) - len(whole)
        pairs[usual] = [list(column) for column in zip(*whole, strict=True)] or [[], []]
    return pairs


def read_triples(
    name: str, data_dir: Path, *, test_split_name: str | None, skip_bad: bool, tally: Tally
) -> dict[str, list[tuple[str, str, str]]]:
    """Read the triples of each split of a TFDS set with features head, relation and tail, or lhs, relation and rhs.

    Args:
        name: Name of the set; see `read`.
        data_dir: Folder of the set; see `read`.
        test_split_name: Split to test on; see `read`.
        skip_bad: Whether to skip triples with an empty text.
        tally: Takes the number of triples that are left out.

    Raises:
        UsageError: If the name is unknown, if the set is not prepared and cannot be downloaded, if there are no such
            features or split, or if a triple has an empty text.
    """
    builder = _builder(prepare(name, data_dir))
    keys = next((keys for keys in TRIPLES if set(keys) <= set(builder.info.features)), None)
    if keys is None:
        have = ", ".join(builder.info.features)
        raise UsageError(f"--dataset {name}: expected triples of {', '.join(TRIPLES[0])}, its features are {have}")
    splits = {}
    for usual, split in _usual_names({split: split for split in builder.info.splits}, test_split_name).items():
        triples = list(zip(*_read_texts(builder, split, keys), strict=True))
        whole = [triple for triple in triples if all(text.strip() for text in triple)]
        if (bad := len(triples) - len(whole)) and not skip_bad:
            raise UsageError(f"{name}: {bad:,} triples of {split} have an empty text; use --skip-bad to skip them")
        tally.left_out["with an empty text"] += bad
        splits[usual] = whole
    return splits


def read_plain(name: str, data_dir: Path, *, text_column: str | None, test_split_name: str | None) -> dict[str, str]:
    """Read the text of each split of a TFDS set: its examples, joined by line breaks.

    Args:
        name: Name of the set; see `read`.
        data_dir: Folder of the set; see `read`.
        text_column: Text feature; None for the first.
        test_split_name: Split to test on; see `read`.

    Raises:
        UsageError: If the name is unknown, if the set is not prepared and cannot be downloaded, or if there is no such
            feature or split.
    """
    builder = _builder(prepare(name, data_dir))
    texts = _texts(name, builder)
    _check_feature("--text-column", name, text_column, builder, texts)
    names = _usual_names({split: split for split in builder.info.splits}, test_split_name)
    return {
        usual: "\n".join(_read_texts(builder, split, [text_column or texts[0]])[0]) for usual, split in names.items()
    }


def prepare(name: str, data_dir: Path) -> Path:
    """Return the folder of a prepared set, after downloading it if necessary.

    Args:
        name: Name of the set; see `read`.
        data_dir: Folder in which the set is prepared, or will be.

    Raises:
        UsageError: If the set is not prepared and cannot be downloaded.
    """
    return find_prepared(name, data_dir) or _download(name, data_dir)


@contextlib.contextmanager
def _reading(folder: Path, what: str) -> Iterator[None]:
    """Turn what fails while a prepared set is read into a `UsageError` that names its folder."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # TFDS, protobuf and TensorFlow have no class in common
        # TensorFlow begins with the node of the graph in doubled braces.
        said = " ".join(re.sub(r"\{\{.*?\}\}", "", str(error)).split())[:200] or type(error).__name__
        raise UsageError(
            f"{folder}: {what} cannot be read: {said}; the set is damaged: prepare it again with TFDS"
        ) from None


def _builder(folder: Path) -> Any:
    """Return the `tensorflow_datasets.core.DatasetBuilder` of a prepared set."""
    import tensorflow_datasets as tfds

    with _reading(folder, "the description of the set"):
        builder = tfds.builder_from_directory(str(folder))
        builder.info.features, builder.info.splits  # noqa: B018  (both are read when they are first looked at)
        return builder


def _texts(name: str, builder: Any) -> list[str]:
    """Return the names of the text features."""
    import tensorflow_datasets as tfds

    texts = [key for key, feature in builder.info.features.items() if isinstance(feature, tfds.features.Text)]
    if not texts:
        raise UsageError(f"--dataset {name}: expected texts, its features are {', '.join(builder.info.features)}")
    return texts


def _check_feature(option: str, name: str, key: str | None, builder: Any, known: list[str]) -> None:
    if key is not None and key not in known:
        have = ", ".join(builder.info.features)
        raise UsageError(f"{option}: {name} has no text feature {key!r}, it has {have}{nearest(key, known)}")


def _pair(name: str, builder: Any, source: str | None, target: str | None) -> tuple[str, str]:
    """Return the features of the source and the target texts."""
    texts = _texts(name, builder)
    _check_feature("--source", name, source, builder, texts)
    _check_feature("--target", name, target, builder, texts)
    supervised = [key for key in builder.info.supervised_keys or () if key in texts]
    usual = supervised if len(supervised) == 2 else texts[:2]
    source = source or next((key for key in usual if key != target), None)
    target = target or next((key for key in usual if key != source), None)
    if source is None or target is None:
        raise UsageError(
            f"--dataset {name}: expected two text features for --task translation, its features are"
            f" {', '.join(builder.info.features)}"
        )
    return source, target


def _read_texts(builder: Any, split: str, keys: Iterable[str]) -> list[list[str]]:
    """Return one list of texts for each feature."""
    columns: list[list[str]] = [[] for _ in keys]
    for batch in _batches(builder, split, {}):
        for column, key in zip(columns, keys, strict=True):
            column += [_decoded(builder, split, len(column) + i, key, text) for i, text in enumerate(batch[key])]
    return columns


def _decoded(builder: Any, split: str, example: int, key: str, text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{builder.data_path}: {split} example {example:,}: {key}: expected UTF-8 text, received byte"
            f" {text[error.start]:#x} at offset {error.start}"
        ) from None


def _read_labelled(builder: Any, inputs: list[str], label: str) -> dict:
    raw = {}
    for split in builder.info.splits:
        x, y = [], []
        for batch in _batches(builder, split, {}):
            rows = zip(*(batch[key] for key in inputs), strict=True)
            start = len(x)
            x += [_decoded(builder, split, start + i, ", ".join(inputs), b" ".join(row)) for i, row in enumerate(rows)]
            y.append(batch[label])
        if x and _labelled(y):
            raw[split] = (x, as_int32(f"{builder.data_path}: {split}: {label}", np.concatenate(y)))
    return raw


def _batches(builder: Any, split: str, decoders: dict) -> Iterator[dict[str, np.ndarray]]:
    import tensorflow_datasets as tfds

    # Reading one file after the other keeps the order of examples the same in every process.
    ordered = tfds.ReadConfig(interleave_cycle_length=1)
    folder, found = Path(builder.data_path), 0
    with _reading(folder, f"the split {split}"):
        source = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False, read_config=ordered)
        batches = source.batch(BATCH).as_numpy_iterator()
    while True:
        with _reading(folder, f"{split} examples {found:,} to {found + BATCH - 1:,}"):
            batch = next(batches, None)
        if batch is None:
            return
        found += len(next(iter(batch.values())))
        yield batch


def _labelled(y: list[np.ndarray]) -> bool:
    """Return whether a split has labels; competitions publish test splits in which every label is -1."""
    return not all((part == -1).all() for part in y)


def _features(name: str, builder: Any, text_column: str | None, label_column: str | None) -> tuple[list[str], str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    have = ", ".join(features)
    usable = [k for k, f in features.items() if isinstance(f, tfds.features.Image | tfds.features.Text)]
    labels = [k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    supervised = builder.info.supervised_keys or ()
    inputs = text_column.split(",") if text_column else [k for k in supervised[:1] if k in usable] or usable[:1]
    chosen = [label_column] if label_column else [k for k in supervised[1:2] if k in labels] or labels[:1]
    for option, names, known in (("--text-column", inputs, usable), ("--label-column", chosen, labels)):
        for key in names:
            if key not in known:
                raise UsageError(f"{option}: {name} has no such feature {key!r}, it has {have}{nearest(key, known)}")
    if not inputs or not chosen:
        raise UsageError(f"--dataset {name}: expected an image or a text with a class label, its features are {have}")
    return inputs, chosen[0]


def _usual_names(raw: dict, test_split_name: str | None) -> dict:
    """Rename the splits to train, validation and test.

    One of several test splits is chosen. If there is only one held-out split, it becomes the test split.

    Raises:
        UsageError: If no split has the requested name.
    """
    others = [split for split in raw if split != "train"]
    if test_split_name is not None and test_split_name not in others:
        raise UsageError(
            f"--test-split-name: expected one of {', '.join(others) or 'no splits but train'}, received"
            f" {test_split_name!r}{nearest(test_split_name, others)}"
        )
    chosen = test_split_name or ("test" if "test" in raw else next((s for s in raw if s.startswith("test")), None))
    if chosen:
        raw = {split: value for split, value in raw.items() if split not in ("test", chosen)} | {"test": raw[chosen]}
    else:
        held = next((s for s in ("validation", "valid", "val", "dev") if s in raw), None)
        if held:
            raw = {"test" if split == held else split: value for split, value in raw.items()}
    names = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}
    known = {names[split]: value for split, value in raw.items() if split in names}
    return known if "train" in known else {"all": next(iter(raw.values()))}


def _download(name: str, data_dir: Path) -> Path:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import gcs_utils

    # TFDS first looks for the set in its own cloud bucket; without a network, it takes minutes to give up.
    gcs_utils._is_gcs_disabled = True
    builder = tfds.builder(name, data_dir=str(data_dir))
    url = next(iter(builder.url_infos), None)
    if url is not None and not _reachable(url):
        raise UsageError(
            f"dataset {name!r} is not prepared in {data_dir} and its source cannot be reached: connect to a network and"
            " try again, or prepare it elsewhere with TFDS and pass its folder with --data-dir"
        )
    builder.download_and_prepare()
    return Path(builder.data_path)


def _reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return True  # the server responds, even if it refuses HEAD
    except (OSError, ValueError):
        return False
    return True
