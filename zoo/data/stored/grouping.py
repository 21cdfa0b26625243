"""Groups of examples that stay in one split: a speaker, a subject, a day (`--group`, `--group-column`)."""

import re
from collections.abc import Mapping
from pathlib import PurePath

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data.reading import Tally
from zoo.data.stored.files import Files


def of_files(config: TrainConfig, sources: Mapping[str, Files], tally: Tally) -> dict[str, np.ndarray | None]:
    """Return the group of each file by split: the first match of `--group` in its name, or in the match its group 1.

    Args:
        config: Has the expression; without one, files have no groups.
        sources: Files of each split.
        tally: Takes a note about groups that are in several of the given splits.

    Raises:
        UsageError: A file in whose name the expression has no match.
    """
    if config.group is None:
        return dict.fromkeys(sources)
    pattern = re.compile(config.group)
    found = {}
    for split, source in sources.items():
        names = [source.name(row) for row in range(len(source))]
        matches = [pattern.search(PurePath(name).name) for name in names]
        if missed := [name for name, match in zip(names, matches, strict=True) if match is None]:
            raise UsageError(
                f"--group {config.group}: expected a match in the name of every file, {len(missed):,} of"
                f" {len(names):,} have none, such as {missed[0]}"
            )
        found[split] = np.array([match[1 if pattern.groups else 0] or "" for match in matches], str)
    tell_shared(found, tally)
    return found


def tell_shared(groups: Mapping[str, np.ndarray], tally: Tally) -> None:
    """Note which groups are in several splits that the data name.

    Args:
        groups: Group of each example by split.
        tally: Takes the note.
    """
    splits = [split for split in ("train", "validation", "test") if split in groups]
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            if both := sorted(set(groups[one].tolist()) & set(groups[other].tolist())):
                tally.notes.append(f"the groups {few(both)} are in {one} and in {other}, as the data name these splits")
