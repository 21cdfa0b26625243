"""Which examples a run has in which split, by their marks: what a resumed training compares its data with.

`examples.npz` holds, for each split, the mark of the inputs of every example (`zoo.data.marks`), (examples, 16) uint8,
and the mark of inputs and labels together.
"""

import collections
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.data import Dataset, Split, marks
from zoo.data.digests import SPLITS
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing

# For each split the keys of its inputs, and of its inputs with their labels.
Keys = Mapping[str, tuple[np.ndarray, np.ndarray]]


def of_data(data: Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the keys of the examples of each split, (examples,) each."""
    return {name: _keys(getattr(data, name)) for name in SPLITS}


def _keys(split: Split) -> tuple[np.ndarray, np.ndarray]:
    inputs = marks.of_split(split)
    answers = marks.of_rows([inputs, split.y] if isinstance(split.y, np.ndarray) else [inputs])
    return marks.as_keys(inputs), marks.as_keys(answers)


def in_training(run: RunFolder, data: Dataset, split: str) -> int | None:
    """Return how many examples of a split a run was trained on; None if the run does not tell.

    Two examples are the same as in `zoo.data.recording.duplicates`.

    Args:
        run: Run folder.
        data: Data in the form of the run.
        split: Name of the split.
    """
    then = read(run)
    if then is None:
        return None
    answered = data.spec.kind in marks.QUESTIONS
    return int(np.isin(_keys(data.split(split))[answered], then["train"][answered]).sum())


def moved_from_training(run: RunFolder, data: Dataset) -> int:
    """Return how many test examples a run was trained on that were not also test examples then; 0 if it does not tell.

    There are some if the data changed since, because splits are drawn from all examples.

    Args:
        run: Run folder.
        data: The run's own data as they are now.
    """
    then = read(run)
    if then is None or not len(data.test):
        return 0
    answered = data.spec.kind in marks.QUESTIONS
    now = _keys(data.test)[answered]
    return int((np.isin(now, then["train"][answered]) & ~np.isin(now, then["test"][answered])).sum())


def write(run: RunFolder, keys: Keys, accepted: bool = False) -> None:
    """Write examples.npz.

    Args:
        run: Run folder.
        keys: Keys of the examples.
        accepted: Whether the data changed since the run was started.
    """
    with replacing(run.examples_file) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {"accepted": np.array(accepted)}
        for split, (inputs, answers) in keys.items():
            arrays |= {f"{split}.inputs": marks.as_bytes(inputs), f"{split}.labelled": marks.as_bytes(answers)}
        np.savez(file, **arrays)


def read(run: RunFolder) -> Keys | None:
    """Return the keys of examples.npz; None for a run of an earlier version, or if the file cannot be read."""
    try:
        with np.load(run.examples_file, allow_pickle=False) as found:
            return {
                split: (marks.as_keys(found[f"{split}.inputs"]), marks.as_keys(found[f"{split}.labelled"]))
                for split in SPLITS
            }
    except (OSError, ValueError, KeyError, EOFError):
        return None


def splits(run: RunFolder) -> dict[bytes, list[str]] | None:
    """Return the splits that each example of a run has, in order, by its key; None if the run does not tell."""
    then = read(run)
    if then is None:
        return None
    found = collections.defaultdict(list)
    for name, (keys, _) in then.items():
        for key in keys.tolist():
            found[key].append(name)
    return found


def accepted_splits(run: RunFolder) -> dict[bytes, list[str]] | None:
    """Return the splits of a run whose data changed while it was trained, which was accepted; None for any other."""
    try:
        with np.load(run.examples_file, allow_pickle=False) as found:
            changed = bool(found["accepted"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return splits(run) if changed else None


def differences(then: Keys, now: Keys) -> list[str]:
    """Return a clause for each split that differs: how many examples were added, removed, moved or labelled anew."""
    before, after = ({s: Counter(keys[s][0].tolist()) for s in SPLITS} for keys in (then, now))
    found = []
    for split in SPLITS:
        parts = []
        new, gone = after[split] - before[split], before[split] - after[split]
        for other in SPLITS:
            if other != split and (moved := (new & (before[other] - after[other])).total()):
                parts.append(f"{moved:,} moved here from {other}")
                new -= before[other] - after[other]
        parts += [f"{count:,} {what}" for count, what in ((new.total(), "added"), (gone.total(), "gone")) if count]
        theirs = dict(zip(then[split][0].tolist(), then[split][1].tolist(), strict=True))
        pairs = zip(now[split][0].tolist(), now[split][1].tolist(), strict=True)
        if relabelled := sum(theirs.get(key, labelled) != labelled for key, labelled in pairs):
            parts.append(f"{relabelled:,} with another label")
        if parts:
            name = "training" if split == "train" else split
            found.append(f"the {name} examples differ ({', '.join(parts)})")
    return found
