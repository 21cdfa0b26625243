"""TFDS sets by name: prepared ones are read as they lie, others are downloaded where there is a network."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.catalogue import TRIPLES, find_prepared
from zoo.data import cache
from zoo.data.images import common_shape, decode_all
from zoo.errors import UsageError, nearest

# Long enough for a slow network's first answer, short enough to wait for.
REACH_SECONDS = 10


@dataclass(frozen=True)
class RawSplits:
    """A TFDS set as read: images (uint8) or texts, and class indices, by split."""

    kind: str
    splits: dict[str, tuple[np.ndarray | list[str], np.ndarray]]
    class_names: tuple[str, ...]


def read(
    name: str,
    data_dir: Path,
    *,
    image_shape: tuple[int, ...] | None,
    image_size: int | None,
    text_column: str | None,
    label_column: str | None,
    test_split_name: str | None,
    skip_bad: bool,
) -> RawSplits:
    """Read every labelled split of a TFDS image or text classification set.

    Args:
        name: `name`, `name/config` or either with `:version`.
        data_dir: where it is prepared, or will be.
        image_shape: (height, width, channels) to bring images to; default, the set's own.
        image_size: height and width instead, with the set's own channels.
        text_column: the text feature, or several joined by a space; default, the supervised or only one.
        label_column: the label feature; default, the supervised or only one.
        test_split_name: of several; default, test or the first that begins so.
        skip_bad: leave out images that cannot be read.

    Raises:
        UsageError: unknown name, not prepared and no network, or no such features or split.
    """
    folder = prepare(name, data_dir)
    import tensorflow_datasets as tfds

    builder = _builder(folder)
    features = builder.info.features
    inputs, label = _features(name, builder, text_column, label_column)
    class_names = tuple(features[label].names)
    if isinstance(features[inputs[0]], tfds.features.Text):
        return RawSplits("text", _usual_names(_read_labelled(builder, inputs, label), test_split_name), class_names)
    key = [
        cache.fingerprint(folder, sorted(folder.iterdir())),
        inputs,
        label,
        image_shape,
        image_size,
        skip_bad,
    ]
    arrays = cache.cached(key, lambda: _read_images(builder, inputs[0], label, image_shape, image_size, skip_bad))
    raw = {
        split: (arrays[f"{split}.x"], arrays[f"{split}.y"]) for split in builder.info.splits if f"{split}.x" in arrays
    }
    return RawSplits("image", _usual_names(raw, test_split_name), class_names)


def read_pairs(
    name: str, data_dir: Path, *, source: str | None, target: str | None, test_split_name: str | None
) -> dict[str, list[list[str]]]:
    """Read the training, validation and test pairs of a TFDS set.

    Args:
        name: as of `read`.
        data_dir: as of `read`.
        source: the feature with the source texts; default, the other than `target` of the supervised or first two.
        target: the feature with the target texts; default, the other than `source`.
        test_split_name: of several; default, test or the first that begins so.

    Returns:
        {split: [source texts, target texts]}, without pairs of which one is empty.

    Raises:
        UsageError: unknown name, not prepared and no network, or no such features or split.
    """
    builder = _builder(prepare(name, data_dir))
    keys = _pair(name, builder, source, target)
    pairs = {}
    for usual, split in _usual_names({split: split for split in builder.info.splits}, test_split_name).items():
        columns = _read_texts(builder, split, keys)
        whole = [pair for pair in zip(*columns, strict=True) if pair[0].strip() and pair[1].strip()]
        if left_out := len(columns[0]) - len(whole):
            print(f"{name}: {left_out:,} pairs of {split} without a text are left out", file=sys.stderr)
        pairs[usual] = [list(column) for column in zip(*whole, strict=True)] or [[], []]
    return pairs


def read_triples(
    name: str, data_dir: Path, *, test_split_name: str | None, skip_bad: bool
) -> dict[str, list[tuple[str, str, str]]]:
    """Read the triples of each split of a TFDS set: its features head, relation and tail, or lhs, relation and rhs.

    Args:
        name: as of `read`.
        data_dir: as of `read`.
        test_split_name: of several; default, test or the first that begins so.
        skip_bad: leave out triples with an empty text, and say how many.

    Raises:
        UsageError: unknown name, not prepared and no network, no such features or split, or a triple that is not whole.
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
            raise UsageError(f"{name}: {bad:,} triples of {split} have an empty text; --skip-bad leaves them out")
        if bad:
            print(f"{name}: {bad:,} triples of {split} with an empty text are left out", file=sys.stderr)
        splits[usual] = whole
    return splits


def read_plain(name: str, data_dir: Path, *, text_column: str | None, test_split_name: str | None) -> dict[str, str]:
    """Read the text of each split of a TFDS set, its examples one after the other on lines of their own.

    Args:
        name: as of `read`.
        data_dir: as of `read`.
        text_column: the text feature; default, the first.
        test_split_name: of several; default, test or the first that begins so.

    Raises:
        UsageError: unknown name, not prepared and no network, or no such feature or split.
    """
    builder = _builder(prepare(name, data_dir))
    texts = _texts(name, builder)
    _check_feature("--text-column", name, text_column, builder, texts)
    names = _usual_names({split: split for split in builder.info.splits}, test_split_name)
    return {
        usual: "\n".join(_read_texts(builder, split, [text_column or texts[0]])[0]) for usual, split in names.items()
    }


def prepare(name: str, data_dir: Path) -> Path:
    """Return the folder of a set, downloaded if it was not there.

    Raises:
        UsageError: it is not prepared, and there is no network.
    """
    return find_prepared(name, data_dir) or _download(name, data_dir)


def _builder(folder: Path) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(str(folder))


def _texts(name: str, builder) -> list[str]:
    """Return the names of the text features."""
    import tensorflow_datasets as tfds

    texts = [key for key, feature in builder.info.features.items() if isinstance(feature, tfds.features.Text)]
    if not texts:
        raise UsageError(f"--dataset {name}: expected texts, its features are {', '.join(builder.info.features)}")
    return texts


def _check_feature(option: str, name: str, key: str | None, builder, known: list[str]) -> None:
    if key is not None and key not in known:
        have = ", ".join(builder.info.features)
        raise UsageError(f"{option}: {name} has no such text {key!r}, it has {have}{nearest(key, known)}")


def _pair(name: str, builder, source: str | None, target: str | None) -> tuple[str, str]:
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
            f"--dataset {name}: expected two texts for --task translation, its features are"
            f" {', '.join(builder.info.features)}"
        )
    return source, target


def _read_texts(builder, split: str, keys: Iterable[str]) -> list[list[str]]:
    """Return one list of texts for each feature."""
    columns: list[list[str]] = [[] for _ in keys]
    for batch in _batches(builder, split, {}):
        for column, key in zip(columns, keys, strict=True):
            column += [text.decode() for text in batch[key]]
    return columns


def _read_labelled(builder, inputs: list[str], label: str) -> dict:
    raw = {}
    for split in builder.info.splits:
        x, y = [], []
        for batch in _batches(builder, split, {}):
            x += [b" ".join(row).decode() for row in zip(*(batch[key] for key in inputs), strict=True)]
            y.append(batch[label])
        if x and _labelled(y):
            raw[split] = (x, np.concatenate(y).astype(np.int32))
    return raw


def _read_images(builder, key, label, image_shape, image_size, skip_bad) -> dict[str, np.ndarray]:
    """Return {split.x: (examples, height, width, channels) uint8, split.y: (examples,) int32}."""
    import tensorflow_datasets as tfds

    own_shape = builder.info.features[key].shape
    wanted = image_shape or ((image_size, image_size, own_shape[2]) if image_size else own_shape)
    as_they_are = wanted == own_shape and None not in own_shape
    decoders = {} if as_they_are else {key: tfds.decode.SkipDecoding()}
    arrays = {}
    for split in builder.info.splits:
        x, y = [], []
        for batch in _batches(builder, split, decoders):
            x += [batch[key]] if as_they_are else list(batch[key])
            y.append(batch[label])
        if not x or not _labelled(y):
            continue
        kept = slice(None)
        if as_they_are:
            x = np.concatenate(x)
        else:
            if None in wanted:  # settled by the first split, the same for all
                size, channels = common_shape(x[:2000])
                wanted = (wanted[0] or size[0], wanted[1] or size[1], wanted[2] or channels)
            names = [f"{split} example {i}" for i in range(len(x))]
            x, kept = decode_all(x, wanted[:2], wanted[2], names, skip_bad)
        arrays[f"{split}.x"], arrays[f"{split}.y"] = x, np.concatenate(y).astype(np.int32)[kept]
    return arrays


def _batches(builder: Any, split: str, decoders: dict[str, Any]) -> Any:
    import tensorflow_datasets as tfds

    # One file after the other: the order of examples is then the same in every process.
    ordered = tfds.ReadConfig(interleave_cycle_length=1)
    source = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False, read_config=ordered)
    return source.batch(1024).as_numpy_iterator()


def _labelled(y: list[np.ndarray]) -> bool:
    """Whether a split has labels: competitions publish test splits with -1 for every one."""
    return all((part >= 0).all() for part in y)


def _features(name, builder, text_column, label_column) -> tuple[list[str], str]:
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
    """Name the splits train, validation and test: of several test splits one, and an only held-out split is the test.

    Raises:
        UsageError: no split has the name asked for.
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

    # TFDS first looks for the set in its own cloud bucket, which without a network takes minutes to give up.
    gcs_utils._is_gcs_disabled = True
    builder = tfds.builder(name, data_dir=str(data_dir))
    url = next(iter(builder.url_infos), None)
    if url is not None and not _reachable(url):
        raise UsageError(
            f"dataset {name!r} is not prepared in {data_dir} and its source cannot be reached from here: connect to a"
            " network and run this again, or prepare it elsewhere with TFDS and pass its folder with --data-dir"
        )
    builder.download_and_prepare()
    return Path(builder.data_path)


def _reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return True  # an answer, if not to HEAD
    except (OSError, ValueError):
        return False
    return True
