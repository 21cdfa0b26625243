"""Load the data of a configuration: one function for all sources."""

import dataclasses
from collections.abc import Mapping, Sequence

from zoo.config import catalogue, task_facts
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import recording
from zoo.data.dataset import Dataset, DataSpec
from zoo.data.reading import Tally
from zoo.data.sources import tfds
from zoo.data.taken import Taken
from zoo.data.text import Vocabulary


def load(
    config: TrainConfig,
    like: DataSpec | None = None,
    vocabulary: Vocabulary | None = None,
    num_classes: int | None = None,
    target_vocabulary: Vocabulary | None = None,
    lengths: tuple[int, int] | None = None,
    splits: Mapping[bytes, Sequence[str]] | None = None,
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

    Raises:
        UsageError: Data that cannot be read, or that cannot be trained on.
    """
    if like is not None:
        unused = {"validation_data": None} if task_facts.of(like.task).validation_is else {}  # of earlier runs
        config = dataclasses.replace(config, task=like.task, **unused)
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
    if config.shard == "files" and data.train.in_memory:
        raise UsageError(f"--shard files: expected pictures or records in files, {data.spec.name} is read into memory")
    return dataclasses.replace(data, reading=recording.of(data, taken.tally))
