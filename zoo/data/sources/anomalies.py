"""Anomaly detection: normal examples to train on, and others to test with, from any source of classes or windows."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from zoo.config import catalogue, registry
from zoo.config.task_facts import FIRST_FIT, USUAL_FIT
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few, unknown
from zoo.data.casts import check_class_names, check_labels, numbered_classes
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.reading import Tally, drawn
from zoo.data.sensors import recordings, standardization, windows
from zoo.data.sound import frames
from zoo.data.sources import classes, labelled
from zoo.data.sources.labelled import Source
from zoo.data.splits import hold_out
from zoo.data.stored import keeping
from zoo.data.taken import Taken
from zoo.models.parts.autoencoders import reconstruction

# Names of a class that is normal unless the user says otherwise, in lower case.
NORMAL = ("normal", "good", "ok", "healthy", "0")
KINDS = ("image", "vector", "sequence", "sound")
# Share of normal validation examples above the threshold unless the user says otherwise.
RATE = 0.01


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read examples, and divide them such that anomalies are in the test split alone.

    Args:
        config: Names the data, the normal classes, and how the data are split.
        taken: Form that the data take over.

    Raises:
        UsageError: Data that cannot be read, without a normal class, or of another form than the run's.
    """
    like, name, tally = taken.like, config.data_name, taken.tally
    config = classes.as_trained(config, like) if like else config
    if taken.splits is not None:
        raise UsageError("--accept-changed-data: expected a run that gives classes; start anew")
    source, normal, named = _read(config, like, tally)
    if source.kind not in KINDS:
        raise UsageError(f"{name}: expected pictures, features, windows of series or sounds, received {source.kind}s")
    class_names = source.class_names or numbered_classes(name, [split.y for split in source.splits.values()])
    check_class_names(name, class_names)
    splits = dict(source.splits)
    if columns := {split: examples for split, examples in splits.items() if not examples.in_memory and not source.hop}:
        splits |= keeping.kept(config, columns, tally)
    for split, examples in splits.items():
        check_labels(f"{name}, {split} split", examples.y, class_names)
    wanted = [class_names.index(one) for one in normal]
    if like is not None and not config.test_split and not named:  # other data for a run are measured as a whole
        everything = _joined(list(splits.values()))
        splits = {"train": everything} | dict.fromkeys(("validation", "test"), everything.take(np.arange(0)))
    else:
        splits = _divided(config, splits, wanted, class_names, named, tally)
    train = splits["train"]
    spec = DataSpec(
        name=name,
        kind=source.kind,
        input_shape=tuple(int(n) for n in train.x.shape[1:]),
        class_names=tuple(class_names),
        task=catalogue.task_of(config),
        fit=(like.fit if like else config.fit or USUAL_FIT) if source.kind == "image" else FIRST_FIT,
        columns=source.columns,
        hop=source.hop,
        rate=source.rate,
        normal=tuple(normal),
        false_alarm_rate=like.false_alarm_rate if like else _rate(config),
        unlabelled=source.unlabelled,
    )
    if like is None:
        mean, std = _frames(config, spec, train) or standardization.of_split(spec, train, tally)
        spec = dataclasses.replace(spec, mean=mean, std=std)
    else:
        classes.check_like(spec, like)
        spec = dataclasses.replace(spec, mean=like.mean, std=like.std)
    return Dataset(spec, train, splits["validation"], splits["test"])


def _read(config: TrainConfig, like: DataSpec | None, tally: Tally) -> tuple[Source, tuple[str, ...], bool]:
    """Return the examples, the names of the normal classes, and whether the data name a test split."""
    known = like.normal if like else ()
    if config.window is None:
        image_shape = like.input_shape if like and like.kind in ("image", "sound") else None
        fit = like.fit if like else config.fit or USUAL_FIT
        source = labelled.read(config, config.data, image_shape, None, fit, tally)
        if source.unlabelled:
            tally.notes.append("there are no labels: every example is taken for normal, and nothing is scored")
            source = dataclasses.replace(source, class_names=known or NORMAL[:1])
            return source, known or NORMAL[:1], "test" in source.splits
        names = source.class_names or numbered_classes(config.data_name, [s.y for s in source.splits.values()])
        train = source.splits.get("train", source.splits.get("all"))
        trained_on = [names[label] for label in np.unique(train.y)]
        return source, known or _normal(config, names, trained_on, tally), "test" in source.splits
    read = recordings.read_all(config, config.data, tally, by_label=False)
    labels = windows.classes_of(read, tally)
    if not labels:
        tally.notes.append("there are no labels: every window is taken for normal, and AUC is not measured")
    normal = known or (_normal(config, labels, labels, tally) if labels else (NORMAL[0],))
    names = labels or normal
    codes = np.array([names.index(one) for one in normal if one in names], np.int64)

    def label_of(found: np.ndarray) -> np.ndarray:
        """Return the first label of a window that is no normal one, and a normal one if there is none."""
        odd = ~np.isin(found, codes) & (found >= 0)
        return np.where(odd.any(1), found[np.arange(len(found)), odd.argmax(1)], found.max(1))

    hop = config.hop or config.window
    splits = windows.splits(config, read, names, window=config.window, hop=hop, label_of=label_of, tally=tally)
    named = any(recording.split == "test" for recording in read.recordings)
    return Source("sequence", splits, tuple(names), read.rate, read.columns, hop), tuple(normal), named


def _frames(config: TrainConfig, spec: DataSpec, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and deviation of each column of the frames that a model makes of sound, None for other data.

    Raises:
        UsageError: Settings of the front end that contradict each other, or clips that are shorter than a frame.
    """
    if spec.kind != "sound" or not len(train):
        return None
    known = registry.arguments(config.model)
    if not known.keys() >= set(reconstruction.ARGUMENTS):
        return None  # a model without a front end is refused when it is made
    given = {name: config.settings.get(name, known[name].default) for name in reconstruction.ARGUMENTS}
    try:
        front = reconstruction.front_of(config.model, given | {"rate": spec.rate})
        front.build((None, *spec.input_shape))
    except ValueError as error:
        raise UsageError(f"--set: {error}") from None
    return frames.statistics(front, train)


def _rate(config: TrainConfig) -> float:
    return RATE if config.false_alarm_rate is None else config.false_alarm_rate


def _normal(config: TrainConfig, names: Sequence[str], trained_on: Sequence[str], tally: Tally) -> tuple[str, ...]:
    """Return the normal classes: those that were named, or the only one to train on, or the one whose name says it.

    Args:
        config: Names the normal classes, or none.
        names: Names of all classes.
        trained_on: Names of the classes with examples to train on.
        tally: Takes a note about a choice.

    Raises:
        UsageError: A name that is no class, or none that is known for a normal one.
    """
    if config.normal_class:
        for one in config.normal_class:
            if one not in names:
                raise unknown("--normal-class", one, names)
        return tuple(config.normal_class)
    found = [name for usual in NORMAL for name in names if name.lower() == usual]
    if len(trained_on) == 1:
        found = list(trained_on)
    if not found:
        raise UsageError(
            f"--normal-class: expected the name of the class to train on, one of {few(names)}; none is called"
            f" {', '.join(NORMAL[:-1])} or {NORMAL[-1]}"
        )
    others = [name for name in names if name != found[0]]
    tally.notes.append(f"class {found[0]!r} is taken for normal, {few(others) if others else 'there is no other'}"
                       f"{' for anomalies' if others else ''} (--normal-class)")  # fmt: skip
    return (found[0],)


def _divided(
    config: TrainConfig,
    splits: Mapping[str, Split],
    normal: Sequence[int],
    class_names: Sequence[str],
    named: bool,
    tally: Tally,
) -> dict[str, Split]:
    """Return train and validation with normal examples alone, and test with normal examples and anomalies.

    Args:
        config: Has the shares of the splits.
        splits: Examples of all classes by split.
        normal: Indices of the normal classes.
        class_names: Names of the classes.
        named: Whether the data name a test split, which then stays as it is.
        tally: Takes what was left out, and how splits were made.
    """
    found = {name: split.take(np.flatnonzero(np.isin(split.y, normal))) for name, split in splits.items()}
    odd = {name: split.take(np.flatnonzero(~np.isin(split.y, normal))) for name, split in splits.items()}
    if "all" in found:
        found["train"] = found.pop("all")
    if not len(found.get("train", ())):
        raise UsageError(f"{config.data_name}: expected normal examples to train on, received none")
    for name, share in (("test", config.test_split), ("validation", config.validation_split)):
        if name not in found:
            found["train"], found[name] = hold_out(found["train"], share, name, tuple(class_names))
            tally.made.setdefault(name, drawn(share, by_class=True))
    moved = sum(len(part) for name, part in odd.items() if name != "test")
    if named:
        tally.left_out["that are anomalous, of splits other than test"] += moved
        odd = {"test": odd["test"]} if "test" in odd else {}
    elif moved:
        tally.notes.append("anomalies are in the test split alone")
    found["test"] = _joined([found["test"], *(part for part in odd.values() if len(part))])
    return found


def _joined(parts: Sequence[Split]) -> Split:
    """Return the examples of several splits, of arrays or of columns of one source, as one."""
    first, *others = [part for part in parts if len(part)] or parts[:1]
    if not others:
        return first
    if first.in_memory and all(part.in_memory for part in others):
        x = np.concatenate([part.x for part in (first, *others)])
    else:
        x = first.x.joined([part.x for part in others])
    rest = {
        name: None if getattr(first, name) is None else np.concatenate([getattr(p, name) for p in (first, *others)])
        for name in ("y", "marks", "groups", "recordings")
    }
    return Split(x, block=first.block, **rest)
