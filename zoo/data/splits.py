"""Splits that depend only on labels and groups, so that every run on the same data holds out the same examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.config import catalogue
from zoo.config.task_facts import SPLITS
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.dataset import Split
from zoo.data.marks import as_keys, of_split, of_texts
from zoo.data.reading import Tally, drawn, listed

# Fixed, because with the training seed a run with another seed would train on this run's test examples.
SPLIT_SEED = 0
# How a validation split is told that comes from another place than the training examples.
GIVEN = "--validation-data"
# Groups that a message names.
LISTED = 4
# Column of a table that names the split of each row.
COLUMN = "split"


def by_column(values: Sequence[str], tally: Tally) -> dict[str, np.ndarray] | None:
    """Return the rows of each split that a column of a table names.

    Args:
        values: Values of the column, (rows,).
        tally: Takes a note that these splits are taken.

    Returns:
        Indices of the rows by split; None unless all values are usual names of splits, of which train is one.
    """
    named = np.array([SPLITS.get(value.strip().lower(), "") for value in values], str)
    found = {split: np.flatnonzero(named == split) for split in ("train", "validation", "test")}
    found = {split: indices for split, indices in found.items() if len(indices)}
    if "" in named or "train" not in found or len(found) == 1:
        return None
    tally.notes.append(f"the splits are those of column {COLUMN!r}")
    return found


def hold_out_indices(count: int, share: float, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of (the rest, the held-out examples) for examples without classes.

    Args:
        count: Number of examples.
        share: Share of the examples to hold out, in [0, 1).
        what: "validation" or "test", for the message.
    """
    rest, held = hold_out(Split(np.arange(count), np.zeros((count, 0), np.int32)), share, what, ())
    return rest.x, held.x


def hold_out(split: Split, share: float, what: str, class_names: tuple[str, ...]) -> tuple[Split, Split]:
    """Return (the rest, the held-out examples), stratified by class; by whole groups if examples have groups.

    Args:
        split: All examples.
        share: Share of the examples to hold out, in [0, 1).
        what: "validation" or "test", for the message.
        class_names: Class names, for the message.

    Raises:
        UsageError: If a class or the groups have too few examples for both sides.
    """
    if not share:
        return split, split.take(np.arange(0))
    if split.groups is not None:
        return _hold_out_groups(split, share, what, class_names)
    from sklearn.model_selection import train_test_split

    stratify = split.y if split.y.ndim == 1 else None
    if stratify is not None:
        counts = np.bincount(split.y)
        single = np.flatnonzero(counts == 1)
        if len(single):
            raise UsageError(
                f"class {class_names[single[0]]!r} has 1 example: a stratified {what} split needs at"
                f" least 2 of each class; add examples, or pass the split as separate data"
            )
    try:
        rest, held = train_test_split(
            np.arange(len(split)), test_size=share, stratify=stratify, random_state=SPLIT_SEED
        )
    except ValueError:
        classes = len(np.unique(stratify)) if stratify is not None else 1
        raise UsageError(
            f"--{what}-split {share:g}: expected at least {classes} examples, one of each class, on each side of the"
            f" split, received {len(split)} examples in total"
        ) from None
    return split.take(np.sort(rest)), split.take(np.sort(held))


def set_validation(splits: dict[str, Any], given: Mapping[str, Any], config: TrainConfig, tally: Tally) -> None:
    """Put the examples of `--validation-data` among the splits of the data.

    Args:
        splits: Examples of each split of the data, changed in place.
        given: Examples of each split of the validation data, in the same form; "all" for those without splits.
        config: Names both.
        tally: Takes how the split was made.

    Raises:
        UsageError: The data have validation examples of their own, or the validation data have several splits.
    """
    catalogue.check_validation(config, splits)
    if len(given) > 1:
        raise UsageError(
            f"--validation-data {config.validation_data}: expected the examples of one split, received"
            f" {', '.join(given)}; give one of them"
        )
    (splits["validation"],) = given.values()
    tally.made["validation"] = GIVEN


def held_out(
    config: TrainConfig, splits: Mapping[str, Split], class_names: tuple[str, ...], tally: Tally
) -> dict[str, Split]:
    """Return train, validation and test. Splits that are not given are held out, by class if examples have one class.

    Args:
        config: Has the shares.
        splits: Splits by name; "all" for examples that no split is named for.
        class_names: Class names, for messages.
        tally: Takes how the splits were made; says what was left out.

    Raises:
        UsageError: A class or the groups have too few examples for both sides.
    """
    found = dict(splits)
    by_class = next(iter(found.values())).y.ndim == 1
    if (everything := found.pop("all", None)) is not None:
        found["train"] = everything
    for split, share in (("test", config.test_split), ("validation", config.validation_split)):
        if split not in found:
            try:
                found["train"], found[split] = hold_out(found["train"], share, split, class_names)
            except UsageError as error:
                if left_out := +tally.left_out:  # without reasons that no example has
                    raise UsageError(f"{error}; {listed(left_out)} left out") from None
                raise
            groups = found[split].groups
            tally.made[split] = drawn(share, by_class, groups=() if groups is None else set(groups.tolist()))
    return found


def _hold_out_groups(split: Split, share: float, what: str, class_names: tuple[str, ...]) -> tuple[Split, Split]:
    """Return (the rest, the held-out examples) with each group on one side.

    Groups are drawn in random order; one is held out if the number of examples comes closer to the share by it, and
    the first one always is.
    """
    names, places, counts = np.unique(split.groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UsageError(
            f"--{what}-split {share:g}: expected examples of two groups or more, received"
            f" {f'{str(names[0])!r} alone' if len(names) else 'none'}; a group is on one side of a split"
        )
    chosen: list[int] = []
    wanted = share * len(split)
    for group in np.random.default_rng(SPLIT_SEED).permutation(len(names)):
        held = counts[chosen].sum()
        if len(chosen) < len(names) - 1 and (not chosen or abs(held + counts[group] - wanted) < abs(held - wanted)):
            chosen.append(int(group))
    mask = np.isin(places, chosen)
    rest, held = split.take(np.flatnonzero(~mask)), split.take(np.flatnonzero(mask))
    if split.y.ndim == 1 and len(lacking := np.setdiff1d(split.y, rest.y)):
        groups = ", ".join(repr(str(names[group])) for group in chosen[:LISTED])
        raise UsageError(
            f"--{what}-split {share:g}: expected examples of class {class_names[lacking[0]]!r} beside the held-out"
            f" groups {groups}, received none; add groups, or give the splits as folders"
        )
    return rest, held


def kept(
    pools: Mapping[str, Split], splits: Mapping[bytes, Sequence[str]], validation: float, test: float
) -> dict[str, Split]:
    """Return train, validation and test such that every known example is in the split that it had.

    A new example of a pool that is divided goes where its key says, whatever the other examples are: the first eight
    bytes of the key are a number that is evenly spread.

    Args:
        pools: Examples as the source has them: "all", or "train" with "validation" and "test" where there are any.
        splits: Splits that the examples had, in order, by key; an example that occurs twice has two.
        validation: Share of new training examples that are held out, if there is no such pool.
        test: Share of all new examples that are held out, if there is no such pool.

    Raises:
        UsageError: Examples that are decoded for each batch and were moved from one folder of a split to another.
    """
    left = {key: list(names) for key, names in splits.items()}
    parts: dict[str, list[Split]] = {"train": [], "validation": [], "test": []}
    for pool, examples in pools.items():
        found = of_texts(examples.x) if examples.x.dtype == object else of_split(examples)
        where = [_place(key, pool, pools, left, validation, test) for key in as_keys(found).tolist()]
        for name, part in parts.items():
            if len(chosen := np.flatnonzero(np.array(where) == name)):
                part.append(examples.take(chosen))
    nothing = next(iter(pools.values())).take(np.arange(0))
    return {name: joined(part) if part else nothing for name, part in parts.items()}


def _place(
    key: bytes, pool: str, pools: Mapping[str, Split], left: dict[bytes, list[str]], validation: float, test: float
) -> str:
    if left.get(key):
        return left[key].pop(0)
    if pool in ("validation", "test"):
        return pool
    number = int.from_bytes(key[:8].ljust(8, b"\0"), "little") / 2**64
    if "test" not in pools:
        if number < test:
            return "test"
        number = (number - test) / (1 - test)
    return "validation" if "validation" not in pools and number < validation else "train"


def joined(parts: Sequence[Split]) -> Split:
    """Return the examples of several splits as one.

    Raises:
        UsageError: Examples that are decoded for each batch.
    """
    if len(parts) == 1:
        return parts[0]
    if not all(part.in_memory for part in parts):
        raise UsageError(
            "--accept-changed-data: examples were moved from the folder of one split to another, which is accepted only"
            " for data that fit in memory; move them back, or give a larger --memory"
        )
    x, y = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y"))
    marks = None if parts[0].marks is None else np.concatenate([part.marks for part in parts])
    groups = None if parts[0].groups is None else np.concatenate([part.groups for part in parts])
    return Split(x, y, marks, parts[0].block, groups)
