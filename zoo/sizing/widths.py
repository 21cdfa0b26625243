"""The widths of a model at a factor of what they are. Standard library only."""

import math
from collections.abc import Mapping
from typing import Any

from zoo.config import registry
from zoo.console.errors import UsageError

Widths = dict[str, int | tuple[int, ...]]


def scalable(model: str, settings: Mapping[str, Any], fixed: Mapping[str, Any], option: str) -> Widths:
    """Return the widths of a model that a target may scale, as they are at a factor of 1.

    Args:
        model: a name of the registry.
        settings: constructor arguments, those of its preset and its recipe among them.
        fixed: of these, what the user chose: it stays as it is.
        option: that asks for it, for the message.

    Raises:
        UsageError: a model without widths, or all of them are fixed.
    """
    declared = registry.widths(model)
    if not declared:
        raise UsageError(f"{option}: expected a model whose widths can be scaled, {model} has none")
    defaults = {name: argument.default for name, argument in registry.arguments(model).items()}
    values = {name: (defaults | dict(settings))[name] for name in declared}
    found = {name: value for name, value in values.items() if value and name not in fixed}  # 0, None: not there
    if not found:
        chosen = ", ".join(name for name in declared if name in fixed)
        raise UsageError(f"{option}: expected a width of {model} that is free, --set fixes all of them ({chosen})")
    return found


def multiples(model: str, settings: Mapping[str, Any]) -> dict[str, int]:
    """Return what each width of a model stays a multiple of."""
    defaults = {name: argument.default for name, argument in registry.arguments(model).items()}
    values = defaults | dict(settings)
    return {name: values[of] if isinstance(of, str) else of for name, of in registry.widths(model).items()}


def at(base: Widths, steps: Mapping[str, int], factor: float) -> Widths:
    """Return widths times a factor, each rounded to the nearest multiple of its step, and one step at least."""

    def scaled(width: int, step: int) -> int:
        return step * max(1, math.floor(width * factor / step + 0.5))

    return {
        name: tuple(scaled(width, steps[name]) for width in value)
        if isinstance(value, tuple)
        else scaled(value, steps[name])
        for name, value in base.items()
    }


def described(widths: Widths) -> str:
    """Return widths in one line: `filters 16,32,32, units 32`."""
    texts = {n: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for n, v in widths.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())
