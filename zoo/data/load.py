"""Load the data of a configuration: one function for all sources."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from zoo.config import catalogue, task_facts
from zoo.config.train_config import TrainConfig, flag
from zoo.console.errors import UsageError
from zoo.data import recording
from zoo.data.casts import check_scaled
from zoo.data.dataset import Dataset, DataSpec
from zoo.data.digests import SPLITS
from zoo.data.reading import Tally
from zoo.data.sources import tfds
from zoo.data.tabular import header
from zoo.data.taken import Taken
from zoo.data.text import Vocabulary

# What an option is for, and the kinds of inputs that it changes.
_PICTURES, _SOUNDS, _TEXTS = ("pictures", ("image",)), ("sounds", ("sound",)), ("texts", ("tokens", "pairs"))
_ABOUT = {
    **dict.fromkeys(("image_size", "fit"), _PICTURES),
    **dict.fromkeys(("rate", "seconds"), _SOUNDS),
    **dict.fromkeys(("tokens", "vocabulary_size", "sequence_length", "text_column"), _TEXTS),
    "label_column": ("a table or recordings with a class for each row", ("tokens", "table")),
}
_OF_RECORDINGS = ("rate", "label_column")
_LISTED = ("image", "sound")  # kinds of the files that a table can name
_EXAMPLES = {
    "image": "pictures",
    "sound": "sounds",
    "tokens": "texts",
    "pairs": "pairs of texts",
    "table": "rows of a table",
    "vector": "arrays of numbers",
    "sequence": "sequences of numbers",
    "events": "users and items",
}


def load(
    config: TrainConfig,
    like: DataSpec | None = None,
    vocabulary: Vocabulary | None = None,
    num_classes: int | None = None,
    target_vocabulary: Vocabulary | None = None,
    lengths: tuple[int, int] | None = None,
    splits: Mapping[bytes, Sequence[str]] | None = None,
    own_model: bool = False,
) -> Dataset:
    """Load the data of a configuration, for its task or the task that the data are for.

    Args:
        config: Names the data and how they are split.
        like: Form of a trained run, to which images, texts and labels are brought.
        vocabulary: Vocabulary of that run, or of the run that a training begins with. If None, one is made of the
            training texts.
        num_classes: Number of classes, if there are more than the labels show.
        target_vocabulary: Vocabulary of the targets of that run, if it was trained on pairs.
        lengths: Longest text and longest target in tokens, unless `like` or the configuration says otherwise.
        splits: Splits that the examples of a resumed run had, in order, by the key of each.
        own_model: Whether a model of one's own learns from them, which may take pictures in any range.

    Raises:
        UsageError: Data that cannot be read, or that cannot be trained on.
    """
    if like is not None:
        unused = {"validation_data": None} if task_facts.of(like.task).validation_is else {}  # of earlier runs
        config = dataclasses.replace(config, task=like.task, **unused)
        if _lacks_groups(config):  # other data than those of the run, which are measured as they are
            config = dataclasses.replace(config, group_column=None)
    catalogue.check_source(config)
    notes = []
    if config.dataset_is_tfds:  # the task of a set is told by files that it is prepared with
        folder = tfds.prepare(config.dataset, catalogue.data_dir(config))
        own = config.dataset.partition(":")[0].rpartition("/")[2]
        if own != folder.parent.name:
            notes.append(f"{config.dataset} means its default configuration {own}/{folder.parent.name}")
    taken = Taken(
        like=like,
        vocabulary=vocabulary,
        target_vocabulary=target_vocabulary,
        num_classes=num_classes,
        lengths=lengths,
        splits=splits,
        tally=Tally(notes=notes),
    )
    task = catalogue.task_of(config)
    if splits is not None and not task_facts.of(task).classifies:
        raise UsageError(
            f"--accept-changed-data: expected examples with a class each, received data for {task}; undo the change of"
            " the data, or start anew"
        )
    data = task_facts.resolved(task_facts.of(catalogue.task_of(config)).source)(config, taken)
    if like is None:
        check_effects(config, data)
        _tell_unused(config, data, taken.tally)
        if data.spec.kind == "image" and not own_model:
            each = {split: getattr(data, split).x for split in SPLITS}
            floats = {name: x for name, x in each.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"}
            check_scaled(data.spec.name, floats)
    if config.shard == "files" and data.train.in_memory:
        raise UsageError(f"--shard files: expected pictures or records in files, {data.spec.name} is read into memory")
    return dataclasses.replace(data, reading=recording.of(data, taken.tally))


def _lacks_groups(config: TrainConfig) -> bool:
    """Return whether a table lacks the column of groups, which only drawing its splits needs."""
    table = config.group_column is not None and config.window is None and header.is_table(config.data)
    return table and config.data.is_file() and config.group_column not in header.columns_of(config.data)


def check_effects(config: TrainConfig, data: Dataset, names: Collection[str] = tuple(_ABOUT)) -> None:
    """Raise UsageError for an option that would change nothing in data of this kind.

    Args:
        config: Configuration that the data were read with.
        data: Data set.
        names: Options that were given. Those whose value is the usual one pass.
    """
    kind, of_recordings = data.spec.kind, config.window is not None
    usual = dataclasses.replace(config, **dict.fromkeys(_ABOUT)).resolved()
    for name, (what, kinds) in _ABOUT.items():
        value = getattr(config, name)
        used = kind in kinds or (of_recordings and name in _OF_RECORDINGS)
        used |= kinds == _TEXTS[1] and data.captions is not None
        used |= name == "label_column" and catalogue.is_table(config.data) and kind in _LISTED
        if name in names and value not in (None, getattr(usual, name)) and not used:
            given = f"{value:g}" if isinstance(value, float) else value
            raise UsageError(
                f"{flag(name)} {given}: expected with {what}, received {data.spec.name}, whose examples are"
                f" {_EXAMPLES.get(kind, kind)}; leave it out"
            )


def _tell_unused(config: TrainConfig, data: Dataset, tally: Tally) -> None:
    """Note a share of a split that was asked for and not drawn; how a split was made says the share."""
    for split in ("validation", "test"):
        share, made = getattr(config, f"{split}_split"), tally.made.get(split, "")
        drawn = f"{100 * share:.3g} %" in made or f"{share:.0%}" in made or data.spec.kind in ("series", "events")
        if share != getattr(TrainConfig, f"{split}_split") and not drawn:
            tally.notes.append(f"--{split}-split {share:g} is not used: the {split} examples are given")
