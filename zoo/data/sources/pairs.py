"""Data for translation: pairs of a source and a target text, as token ids."""

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.reading import Tally, drawn
from zoo.data.sources import embedded, tables, tfds
from zoo.data.splits import COLUMN, by_column, hold_out_indices, set_validation
from zoo.data.taken import Taken
from zoo.data.text import Vocabulary, padded

# Largest default length, because the cost of attention grows with the square of the length.
LONGEST = 256

# Source texts and target texts of a split.
Columns = list[list[str]]


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read pairs.

    Args:
        config: Names the pairs and how they are split.
        taken: Form, vocabularies and lengths that they take over.

    Returns:
        Data set whose splits have x, the source ids (examples, source time), and y, (examples, target time + 2): begin,
        the target ids, end, padding. Training pairs with a longer text are left out, other texts are cut.

    Raises:
        UsageError: Data that are no pairs, or no pair to train on.
    """
    like, vocabulary, target_vocabulary = taken.like, taken.vocabulary, taken.target_vocabulary
    name = config.data_name
    tally = taken.tally
    tally.unit = "pairs"
    splits = _held_out(config, _read(config, tally), tally)
    if vocabulary is None:
        vocabulary, target_vocabulary = _vocabularies(config, splits["train"])
    elif target_vocabulary is None:
        raise UsageError(
            f"--init-from {config.init_from}: expected a translation run for the pairs of {name}, because its"
            " vocabulary has begin and end tokens, received another run"
        )
    rows = {
        split: (vocabulary.rows(source), target_vocabulary.inner_rows(target))
        for split, (source, target) in splits.items()
    }
    if like:
        lengths = (like.input_shape[0], like.target_shape[0] - 2)
    else:
        lengths = _lengths(config, rows["train"], taken.lengths)
        kept = _short(name, rows["train"], lengths)
        tally.left_out[f"longer than {max(lengths)} tokens"] += len(rows["train"][0]) - len(kept)
        rows["train"] = tuple([column[i] for i in kept] for column in rows["train"])
        splits["train"] = [[column[i] for i in kept] for column in splits["train"]]
    spec = DataSpec(
        name=name,
        kind="pairs",
        input_shape=(lengths[0],),
        class_names=(),
        vocabulary_size=len(vocabulary),
        task="translation",
        target_shape=(lengths[1] + 2,),
        target_vocabulary_size=len(target_vocabulary),
        vocabulary_sha256=vocabulary.sha256,
        target_vocabulary_sha256=target_vocabulary.sha256,
    )
    return Dataset(
        dataclasses.replace(like, name=name) if like else spec,
        **{
            split: Split(vocabulary.padded(source, lengths[0]), _targets(target_vocabulary, target, lengths[1]))
            for split, (source, target) in rows.items()
        },
        vocabulary=vocabulary,
        target_vocabulary=target_vocabulary,
        references={split: target for split, (_, target) in splits.items()},
    )


def _read(config: TrainConfig, tally: Tally) -> dict[str, Columns]:
    """Return the texts of each split, with a single split "all" if the data has no splits."""
    if config.data is not None:
        sides, options = (config.source, config.target), {"skip_bad": config.skip_bad, "tally": tally}
        columns = tables.read_pairs(config.data, *sides, **options, also=COLUMN)
        splits = _by_column(columns[:2], [] if COLUMN in sides else columns[2:], tally)
        if config.validation_data is not None:
            set_validation(splits, {"all": tables.read_pairs(config.validation_data, *sides, **options)}, config, tally)
        return splits
    if not config.dataset_is_tfds:
        return embedded.addition()
    return tfds.read_pairs(
        config.dataset,
        catalogue.data_dir(config),
        source=config.source,
        target=config.target,
        test_split_name=config.test_split_name,
        tally=tally,
    )


def _by_column(texts: Columns, splits: Columns, tally: Tally) -> dict[str, Columns]:
    """Return the pairs of a table by split, if a column of it names the splits; otherwise as "all"."""
    parts = by_column(splits[0], tally) if splits else None
    if parts is None:
        return {"all": texts}
    return {split: [[column[i] for i in rows] for column in texts] for split, rows in parts.items()}


def _held_out(config: TrainConfig, splits: dict[str, Columns], tally: Tally) -> dict[str, Columns]:
    """Return train, validation and test. Splits that are not given are held out."""
    if "test" not in splits:
        whole = splits.pop("all", None) or splits["train"]
        splits["train"], splits["test"] = _parted(whole, config.test_split, "test")
        tally.made["test"] = drawn(config.test_split)
    if "validation" not in splits:
        splits["train"], splits["validation"] = _parted(splits["train"], config.validation_split, "validation")
        tally.made["validation"] = drawn(config.validation_split)
    return {split: splits[split] for split in ("train", "validation", "test")}


def _parted(columns: Columns, share: float, what: str) -> tuple[Columns, Columns]:
    rest, held = hold_out_indices(len(columns[0]), share, what)
    return [[column[i] for i in rest] for column in columns], [[column[i] for i in held] for column in columns]


def _vocabularies(config: TrainConfig, train: Columns) -> tuple[Vocabulary, Vocabulary]:
    """Return the vocabularies of sources and targets. Subwords share one, which makes it easy to copy names."""
    tokens = catalogue.tokens_of(config)

    def learn(texts: Sequence[str]) -> Vocabulary:
        return Vocabulary.train(texts, config.vocabulary_size, tokens, pairs=True, lowercase=False)

    if tokens == "subword":
        shared = learn([*train[0], *train[1]])
        return shared, shared
    return learn(train[0]), learn(train[1])


def _lengths(config: TrainConfig, rows: tuple, usual: tuple[int, int] | None) -> tuple[int, int]:
    """Return the largest number of source and target tokens: set by the user, by `usual`, or by the longest texts."""
    if config.sequence_length is not None:
        return config.sequence_length, config.sequence_length
    if usual is not None:
        return usual
    source, target = (min(LONGEST, max((len(row) for row in column), default=1)) for column in rows)
    return source, target


def _short(name: str, rows: tuple, lengths: tuple[int, int]) -> np.ndarray:
    """Return the indices of training pairs that fit. A pair that is cut would teach half a translation."""
    fits = np.array([len(s) <= lengths[0] and len(t) <= lengths[1] for s, t in zip(*rows, strict=True)], bool)
    if not fits.any():
        raise UsageError(
            f"--sequence-length {lengths[0]}: expected training pairs of {name} with at most that many tokens,"
            " received none"
        )
    if not fits.all():
        print(
            f"{name}: {len(fits) - fits.sum():,} of {len(fits):,} training pairs are longer than {max(lengths)} tokens"
            " and are left out; use --sequence-length to keep more",
            file=sys.stderr,
        )
    return np.flatnonzero(fits)


def _targets(vocabulary: Vocabulary, rows: Sequence[list[int]], length: int) -> np.ndarray:
    return padded([[vocabulary.begin_id, *row, vocabulary.end_id] for row in rows], length + 2)
