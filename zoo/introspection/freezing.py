"""Exclude layers and variables of a built model from training, by patterns of their paths."""

from collections.abc import Sequence

import keras

from zoo.config.patterns import matching
from zoo.console.errors import UsageError, few, nearest
from zoo.introspection.variables import hold, named


def freeze(model: keras.Model, patterns: Sequence[str], new: Sequence[str] = ()) -> list[str]:
    """Let no training change the weights that match, see `zoo.models.parts.base.hold`, and return their names.

    Args:
        model: built; before the optimizer is.
        patterns: shell patterns for the path of a layer or a weight, or for its end.
        new: weights that are still random.

    Raises:
        UsageError: a pattern that matches nothing, or together they match everything, or something new.
    """
    mine = named(model)
    paths = dict.fromkeys(path for name in mine for path in _and_parents(name))
    said, frozen = ",".join(patterns), set()
    for pattern in patterns:
        found = set(matching(paths, pattern))
        if not found:
            top = dict.fromkeys(name.partition("/")[0] for name in mine)
            raise UsageError(
                f"--freeze {pattern}: no layer or variable of this name; the model has {', '.join(top)}"
                f"{nearest(pattern, paths)}"
            )
        frozen |= {name for name in mine if not found.isdisjoint(_and_parents(name))}
    if random := [name for name in new if name in frozen]:
        raise UsageError(f"--freeze {said}: expected weights that were taken over, {few(random)} would stay random")
    if not any(variable.trainable for name, variable in mine.items() if name not in frozen):
        raise UsageError(f"--freeze {said}: expected patterns that leave something to train, these match everything")
    chosen = [name for name in mine if name in frozen]
    hold(model, chosen)
    return chosen


def _and_parents(name: str) -> list[str]:
    """Return `a`, `a/b` and `a/b/c` for `a/b/c`."""
    parts = name.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
