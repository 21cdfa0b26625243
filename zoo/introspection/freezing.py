"""Freeze layers and variables of a built model, selected by patterns of their paths."""

from collections.abc import Sequence

import keras

from zoo.config.patterns import matching
from zoo.console.errors import UsageError, few, nearest
from zoo.introspection.variables import hold, named


def freeze(model: keras.Model, patterns: Sequence[str], new: Sequence[str] = ()) -> list[str]:
    """Freeze the weights that match any pattern, and return their names.

    See `zoo.introspection.variables.hold` for what freezing does.

    Args:
        model: Built model whose optimizer is not built yet.
        patterns: Shell patterns of the path of a layer or a weight, or of the end of such a path.
        new: Names of weights that are still randomly initialised, which must not be frozen.

    Raises:
        UsageError: If a pattern matches nothing, if the patterns match every weight, or if they match a new weight.
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
        raise UsageError(f"--freeze {said}: expected pretrained weights, but {few(random)} would stay random")
    if not any(variable.trainable for name, variable in mine.items() if name not in frozen):
        raise UsageError(f"--freeze {said}: expected patterns that leave weights to train, these match all weights")
    chosen = [name for name in mine if name in frozen]
    hold(model, chosen)
    return chosen


def _and_parents(name: str) -> list[str]:
    """Return `a`, `a/b` and `a/b/c` for `a/b/c`."""
    parts = name.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
